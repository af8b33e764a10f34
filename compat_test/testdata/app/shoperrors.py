"""Exceptions that a client can import."""


class OutOfStock(Exception):
    def __init__(self, item, left=0):
        super().__init__(item, left)
        self.item = item
        self.left = left


class Plain(Exception):
    pass
