"""Fair linear models by others' libraries, with the attributes in the clear: what ours are compared with."""
