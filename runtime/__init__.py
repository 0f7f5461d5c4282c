"""The last room: compiling a Program for given fetches and feeds, and running it in one native call."""
