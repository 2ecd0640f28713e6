"""Sums, products and the like of a few rows of numbers that give another row, the simplest first."""

import numpy

# Numbers beyond have no exact value here.
LARGEST = 1e15
SMALL = (1, 2, 3, 4, 8)
POWERS = (-0.5, 0.5, 2, -1)
# Of terms, and of pairs of them from which threes are made.
MOST_TERMS, MOST_PAIRS = 100, 4000


def apply(op, a, b):
    """Of two arrays; NaN where it has no value."""
    if op == "+":
        return a + b
    if op == "-":
        return a - b
    if op == "*":
        return a * b
    if op == "/":
        return numpy.where(b == 0, numpy.nan, a / b)
    if op == "//":
        return numpy.where(b == 0, numpy.nan, numpy.floor_divide(a, b))
    if op == "%":
        return numpy.where(b == 0, numpy.nan, numpy.mod(a, b))
    if op == "int*":
        return numpy.trunc(a * b)
    if op == "min":
        return numpy.minimum(a, b)
    if op == "max":
        return numpy.maximum(a, b)
    with numpy.errstate(all="ignore"):
        return numpy.power(a, b)


def close(a, b):
    return numpy.abs(a - b) <= 1e-12 * numpy.maximum(numpy.abs(a), numpy.abs(b))


class Sums:
    def __init__(self, numbers, width):
        """`numbers`: (expression, its value at each of `width` points)."""
        numbers = numbers[:MOST_TERMS]
        self.own = len(numbers)
        self.labels = [label for label, _ in numbers] + list(SMALL)
        self.terms = numpy.array([list(map(float, values)) for _, values in numbers] + [[float(number)] * width for number in SMALL])
        self.broken = [any(value != int(value) for value in values) for _, values in numbers] + [False] * len(SMALL)
        self.pairs = None

    def all_pairs(self):
        """[(op, a, b), …] and a row of values for each, the simplest first; of those with the same values the first."""
        count, labels, rows = len(self.labels), [], []
        with numpy.errstate(all="ignore"):
            for a in range(count):
                for order, op in enumerate(("*", "//", "-", "+", "/", "int*", "min", "max", "%")):
                    if op == "int*" and not self.broken[a]:
                        continue
                    first = a if op in ("+", "*", "min", "max") else 0
                    # Not of two constants.
                    last = count if a < self.own else self.own
                    if first < last:
                        labels += [(a, b, order, op) for b in range(first, last)]
                        rows.append(apply(op, self.terms[a], self.terms[first:last]))
            for a in range(self.own):
                for order, power in enumerate(POWERS):
                    labels.append((a, count, order, power))
                    rows.append(numpy.power(self.terms[a], power)[None])
                labels.append((a, count, len(POWERS), "2^"))
                rows.append(numpy.power(2.0, numpy.minimum(self.terms[a], 64))[None])
        if not rows:
            return [], numpy.zeros((0, self.terms.shape[1]))
        rows = numpy.concatenate(rows)
        good = numpy.isfinite(rows).all(1) & (numpy.abs(rows) < LARGEST).all(1)
        order = numpy.array(sorted(numpy.flatnonzero(good), key=lambda place: labels[place][:3]), dtype=int)
        rows = rows[order]
        # The same values have the same sum with any weights.
        weights = numpy.random.default_rng(0).random(rows.shape[1])
        _, first = numpy.unique(rows @ weights, return_index=True)
        first.sort()
        return [labels[place] for place in order[first]], rows[first]

    def pair(self, place):
        a, b, _, op = self.pairs[0][place]
        if op == "2^":
            return ["^", 2, self.labels[a]]
        if b == len(self.labels):
            return ["^", self.labels[a], op]
        return [op, self.labels[a], self.labels[b]]

    def candidates(self, wanted, depth, is_late):
        """Expressions that may give `wanted`: whoever takes one looks whether it does."""
        if self.pairs is None:
            self.pairs = self.all_pairs()
        wanted = numpy.array(list(map(float, wanted)))
        rows = self.pairs[1]
        for place in self.rows_like(rows, wanted):
            yield self.pair(place)
        if depth < 3:
            return
        yield from self.threes(wanted, is_late)
        # One more term.
        for place, label in enumerate(self.labels):
            if is_late():
                return
            own = self.terms[place]
            with numpy.errstate(all="ignore"):
                rest = wanted / own
            if (own != 0).all() and (rest == numpy.floor(rest)).all():
                for found in self.threes(rest, is_late):
                    yield ["*", found, label]
            for op, rest in (("+", wanted - own), ("-", wanted + own)):
                for found in self.threes(rest, is_late):
                    yield [op, found, label]

    def threes(self, wanted, is_late):
        rows = self.pairs[1]
        if len(rows) > MOST_PAIRS:
            return
        # Where the values differ most says most.
        probe = int(numpy.argmax(numpy.abs(wanted)))
        column = rows[:, probe]
        with numpy.errstate(all="ignore"):
            for place, label in enumerate(self.labels):
                if is_late():
                    return
                term = self.terms[place]
                for op in ("*", "//", "+", "-"):
                    for at in self.like(rows, column, probe, lambda a, t, op=op: apply(op, a, t), term, wanted):
                        yield [op, self.pair(at), label]
                if place < self.own:
                    for op in ("//", "-", *(("int*",) if self.broken[place] else ())):
                        for at in self.like(rows, column, probe, lambda a, t, op=op: apply(op, t, a), term, wanted):
                            yield [op, label, self.pair(at)]
            for power in POWERS[:3]:
                for at in self.like(rows, column, probe, lambda a, t: numpy.power(a, t), numpy.full(rows.shape[1], power), wanted):
                    yield ["^", self.pair(at), power]

    @staticmethod
    def like(rows, column, probe, make, term, wanted):
        places = numpy.flatnonzero(close(make(column, term[probe]), wanted[probe]))
        if not len(places):
            return places
        return places[close(make(rows[places], term), wanted).all(1)]

    @staticmethod
    def rows_like(rows, wanted):
        probe = int(numpy.argmax(numpy.abs(wanted)))
        places = numpy.flatnonzero(close(rows[:, probe], wanted[probe]))
        return places[close(rows[places], wanted).all(1)]
