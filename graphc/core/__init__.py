"""The first room: element types, shapes, errors, the Graph that users declare and the Program that is compiled."""
