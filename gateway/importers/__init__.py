"""Other systems' device files into profiles: what each means is known by a module of its own, how it is written by
writer.py."""
