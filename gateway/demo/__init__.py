"""`citygate demo`: a city block behind real wires, its incidents, and an honest account of what arrived."""
