"""The course's notebooks: sources, build, execution under a cap, and the lab that opens them."""
