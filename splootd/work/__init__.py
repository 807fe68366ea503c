"""The workers, in the order of the walk; each takes an item one step further."""
