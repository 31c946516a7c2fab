"""`citygate node`: the small agent of a CoAP sensor node on Linux-class hardware, and the updates of its firmware."""
