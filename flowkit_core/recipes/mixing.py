"""What may change between the layers of a flow; each recipe says what it means there."""

MIXINGS = ("none", "reverse", "random", "lu")
