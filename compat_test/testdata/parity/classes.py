"""Classes that only pickle can carry."""


class Basket(object):
    def __init__(self, items):
        self.items = items

    def __repr__(self):
        return "Basket(%r)" % (self.items,)

    def __eq__(self, other):
        return self.items == other.items


class Stolen(Exception):
    def __init__(self, basket):
        super(Stolen, self).__init__(basket)
        self.basket = basket
