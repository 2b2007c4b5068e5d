raise ImportError("no such driver")
