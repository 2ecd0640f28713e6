"""Expressions over a configuration: how they are evaluated, and how the simplest one that gives some observed values is found.

An expression is JSON. A text is a key of the configuration (`vision_config.hidden_size` is one in a nested one); a number, a
truth value and null are themselves; a list is a function and its arguments:

    ["=", value]  a constant       ["i", n]  the number of the module in the n-th repetition around it, 0 the innermost
    + - * / // % ^ min max         of two numbers; // rounds down, "int*" cuts a product off to a whole number
    ["at", list, number]  ["len", list]  ["list", …]  ["each", count, expression of its number]
    == < in not null               conditions; ["true", a] as Python takes any value for one
    ["if", condition, a, b]        ["of", a, [[value, result], …]], which is unknown for another value
"""

import itertools
import json
import math
import time


class Unknown(Exception):
    """The expression has no value for this configuration."""


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def same(a, b):
    """Equality as JSON has it; numbers that are computed may differ in the last bits."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if is_number(a) and is_number(b):
        return a == b or (isinstance(a, float) and isinstance(b, float) and math.isclose(a, b, rel_tol=1e-12))
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


def arithmetic(op, a, b):
    if not is_number(a) or not is_number(b):
        raise Unknown
    try:
        if op == "+":
            return a + b
        if op == "-":
            return a - b
        if op == "*":
            return a * b
        if op == "/":
            return a / b
        if op == "//":
            return a // b
        if op == "%":
            return a % b
        if op == "^":
            if abs(b) > 64 or abs(a) > 1e12:
                raise Unknown
            value = a**b
            if isinstance(value, complex) or abs(value) > 1e15:
                raise Unknown
            return value
        if op == "min":
            return min(a, b)
        if op == "max":
            return max(a, b)
        if op == "int*":
            return int(a * b)
    except (ZeroDivisionError, OverflowError) as error:
        raise Unknown from error
    raise Unknown


ARITHMETIC = {"+", "-", "*", "/", "//", "%", "^", "min", "max", "int*"}


def evaluate(expression, env, index=()):
    """Its value for a flat configuration."""
    if isinstance(expression, str):
        if expression not in env:
            raise Unknown
        return env[expression]
    if not isinstance(expression, list):
        return expression
    op, *arguments = expression
    if op == "=":
        return arguments[0]
    if op == "i":
        if arguments[0] >= len(index):
            raise Unknown
        return index[-1 - arguments[0]]
    if op == "if":
        return evaluate(arguments[1 if evaluate(arguments[0], env, index) else 2], env, index)
    if op == "each":
        count = evaluate(arguments[0], env, index)
        if not isinstance(count, int) or not 0 <= count <= 1000:
            raise Unknown
        return [evaluate(arguments[1], env, (*index, place)) for place in range(count)]
    if op == "of":
        value = evaluate(arguments[0], env, index)
        for given, result in arguments[1]:
            if same(given, value):
                return result
        raise Unknown
    values = [evaluate(argument, env, index) for argument in arguments]
    if op in ARITHMETIC:
        return arithmetic(op, *values)
    if op == "list":
        return values
    if op == "true":
        return bool(values[0])
    if op == "not":
        return not values[0]
    if op == "null":
        return values[0] is None
    if op == "==":
        return same(*values)
    if op == "<":
        if not all(map(is_number, values)):
            raise Unknown
        return values[0] < values[1]
    if op == "in":
        if not isinstance(values[1], (list, tuple)):
            raise Unknown
        return any(same(values[0], item) for item in values[1])
    if op == "len":
        if not isinstance(values[0], (list, tuple)):
            raise Unknown
        return len(values[0])
    if op == "at":
        if not isinstance(values[0], (list, tuple)) or not isinstance(values[1], int) or not -len(values[0]) <= values[1] < len(values[0]):
            raise Unknown
        return values[0][values[1]]
    raise Unknown


def constant(value):
    return ["=", value] if isinstance(value, (str, list, tuple, dict)) else value


def frozen(value):
    """Something that can be a key of a dict, the same for values that are the same."""
    if is_number(value):
        return f"{value:.12g}" if isinstance(value, float) else (value, 0)
    return value if value is None or isinstance(value, (bool, str)) else json.dumps(value, sort_keys=True, default=str)


# Seconds for what is not found at once, for each class.
SEARCH = 6
MOST_TERMS = 16
MOST_ROWS = 48
SMALL = (1, 2, 3, 4, 8)


class Finder:
    """Finds expressions for values observed at (configuration, index) rows."""

    def __init__(self, base, singles, seconds=SEARCH):
        """`base`: the first build's number; `singles`: builds in which one key was changed, with the flat keys that differ;
        `seconds` for what is not found at once."""
        self.base, self.singles = base, singles
        self.hints, self.found, self.tables = {}, {}, {}
        self.until = time.process_time() + seconds

    def find(self, rows, envs, values, hint=None):
        """`rows`: (build, index) of each value. An expression; Unknown is raised where none is found."""
        if all(same(values[0], value) for value in values[1:]):
            return constant(values[0])
        for known in self.hints.get(hint, ()):
            if self.holds(known, rows, envs, values):
                return known
        mark = (tuple(rows), tuple(frozen(value) for value in values))
        if mark not in self.found:
            try:
                self.found[mark] = self.search(rows, envs, values)
            except Unknown:
                self.found[mark] = None
        found = self.found[mark]
        if found is None:
            raise Unknown
        if hint is not None:
            self.hints.setdefault(hint, []).append(found)
        return found

    @staticmethod
    def holds(expression, rows, envs, values):
        try:
            return all(same(evaluate(expression, envs[build], index), value) for (build, index), value in zip(rows, values))
        except Unknown:
            return False

    def suspects(self, rows, envs, values):
        """Keys that change the value when they alone are changed, and keys that vary with them."""
        at = {row: value for row, value in zip(rows, values)}
        keys = {}
        for (build, index), value in zip(rows, values):
            there = (self.base, index)
            if build in self.singles and there in at and not same(at[there], value):
                for key in self.singles[build]:
                    keys[key] = keys.get(key, 0) + 1
        varies = {}
        for (build, index), value in zip(rows, values):
            varies.setdefault(build, []).append(value)
        inside = any(not all(same(several[0], value) for value in several) for several in varies.values())
        return sorted(keys, key=lambda key: (-keys[key], len(key), key)), inside

    def search(self, rows, envs, values):
        keys, inside = self.suspects(rows, envs, values)
        builds = sorted({build for build, _ in rows})
        every = [key for key in envs[builds[0]] if len({frozen(envs[build].get(key)) for build in builds}) > 1]
        for chosen, depth in ((keys[:1], 3), (keys[:2], 3), (keys[:4], 3), (keys[:MOST_TERMS], 2), (every, 1)):
            if (not chosen and not inside) or (depth > 1 and time.process_time() > self.until):
                continue
            try:
                return self.enumerate(rows, envs, values, chosen, inside, depth)
            except Unknown:
                continue
        raise Unknown

    def enumerate(self, rows, envs, values, keys, inside, depth):
        # Rows that are the same in all that can matter are one.
        distinct = {}
        for (build, index), value in zip(rows, values):
            mark = (tuple(frozen(envs[build].get(key)) for key in keys), index if inside else ())
            if mark in distinct:
                if not same(distinct[mark][2], value):
                    raise Unknown
            else:
                distinct[mark] = (build, index, value)
        kept = list(distinct.values())[:MOST_ROWS]
        if len(kept) < 2:
            raise Unknown
        points = [(envs[build], index) for build, index, _ in kept]
        wanted = [value for _, _, value in kept]
        length = len(wanted[0]) if isinstance(wanted[0], (list, tuple)) else None
        mark = (tuple(keys), inside, tuple(distinct)[:MOST_ROWS])
        if mark not in self.tables:
            self.tables[mark] = Table(points, keys, inside)
        table = self.tables[mark]
        found = table.solve(wanted, depth)
        if found is None and length is not None:
            if all(isinstance(value, (list, tuple)) and len(value) == length for value in wanted) and 0 < length <= 8:
                parts = [table.solve([value[place] for value in wanted], depth) for place in range(length)]
                if None not in parts:
                    found = ["list", *[part[0] for part in parts]]
                    found = [found]
        if found is None:
            raise Unknown
        expression = found[0]
        if not self.holds(expression, rows, envs, values):
            raise Unknown
        return expression


class Table:
    """Values of terms at some points, and what can be made of them."""

    def __init__(self, points, keys, inside):
        self.points = points
        self.terms, self.numbers, self.conditions = [], {}, {}
        depth = min((len(index) for _, index in points), default=0) if inside else 0
        for key in keys:
            self.term(key)
        for n in range(depth):
            self.term(["i", n])
        for key in keys:
            seen = [env.get(key) for env, _ in points]
            if any(isinstance(value, list) for value in seen):
                self.term(["len", key])
                for n in range(depth):
                    self.term(["at", key, ["i", n]])
                    self.term(["at", key, ["+", ["i", n], 1]])
                    self.term(["at", key, ["-", ["i", n], 1]])
                for place in (0, -1, 1, 2, 3):
                    self.term(["at", key, place])
        for n in range(depth):
            self.term(["+", ["i", n], 1])
        self.binary = None

    def term(self, expression):
        values = self.values(expression)
        if values is not None:
            self.terms.append((expression, values))

    def values(self, expression):
        try:
            return [evaluate(expression, env, index) for env, index in self.points]
        except Unknown:
            return None

    @staticmethod
    def mark(values):
        return tuple(frozen(value) for value in values)

    def solve(self, wanted, depth, is_side=False):
        """[expression], or None."""
        if all(same(wanted[0], value) for value in wanted):
            return [constant(wanted[0])]
        target = self.mark(wanted)
        for expression, values in self.terms:
            if self.mark(values) == target:
                return [expression]
        if all(is_number(value) for value in wanted):
            found = self.arithmetic(target, depth)
            if found is not None:
                return [found]
        if all(isinstance(value, bool) for value in wanted):
            for condition, values in self.all_conditions():
                if tuple(values) == tuple(wanted):
                    return [condition]
        found = self.lookup(wanted)
        if found is not None:
            return [found]
        if depth >= 2 and not is_side:
            return self.branches(wanted, depth)
        return None

    def arithmetic(self, target, depth):
        if self.binary is None:
            numbers = [(e, v) for e, v in self.terms if all(map(is_number, v))]
            constants = [(number, [number] * len(self.points)) for number in SMALL]
            self.numbers_ = numbers
            self.binary = {}
            for (a, x), (b, y) in itertools.product(numbers + constants, numbers + constants):
                if not isinstance(a, (str, list)) and not isinstance(b, (str, list)):
                    continue
                for op in ("*", "//", "-", "+", "/", "int*", "min", "max", "%"):
                    if op in ("+", "*", "min", "max") and json.dumps(a) > json.dumps(b):
                        continue
                    if op == "int*" and not any(isinstance(value, float) for value in x):
                        continue
                    self.put(op, a, x, b, y)
            for a, x in numbers:
                for b in (-0.5, 0.5, 2, -1):
                    self.put("^", a, x, b, [b] * len(x))
                self.put("^", 2, [2] * len(x), a, x)
            self.ternary = None
        if target in self.binary:
            return self.binary[target][0]
        if depth < 3:
            return None
        if self.ternary is None:
            self.ternary = {}
            first = list(self.binary.values())
            if len(first) < 3000:
                others = self.numbers_ + [(number, [number] * len(self.points)) for number in SMALL]
                for (a, x), (b, y) in itertools.product(first, others):
                    for op in ("*", "//", "+", "-"):
                        self.put(op, a, x, b, y, self.ternary)
                    if isinstance(b, (str, list)):
                        for op in ("*", "//", "-"):
                            self.put(op, b, y, a, x, self.ternary)
                for a, x in first:
                    for b in (-0.5, 0.5, 2):
                        self.put("^", a, x, b, [b] * len(x), self.ternary)
        return self.ternary[target][0] if target in self.ternary else None

    def put(self, op, a, x, b, y, into=None):
        into = self.binary if into is None else into
        try:
            values = [arithmetic(op, p, q) for p, q in zip(x, y)]
        except Unknown:
            return
        mark = self.mark(values)
        if mark not in into:
            into[mark] = ([op, a, b], values)

    def all_conditions(self):
        if not self.conditions:
            found = []
            for e, v in self.terms:
                found.append(["true", e])
                found.append(["not", e])
                if any(value is None for value in v):
                    found += [["null", e], ["not", ["null", e]]]
                distinct = {frozen(value): value for value in v}
                if len(distinct) <= 8:
                    for value in distinct.values():
                        found += [["==", e, constant(value)], ["not", ["==", e, constant(value)]]]
            numbers = [(e, v) for e, v in self.terms if all(map(is_number, v))]
            for (a, _), (b, _) in itertools.permutations(numbers, 2):
                found += [["<", a, b], ["not", ["<", a, b]], ["==", a, b], ["not", ["==", a, b]]]
            for a, v in numbers:
                found += [["<", number, a] for number in (1, 2)]
                if a and isinstance(a, list):
                    for modulus in (2, 3, 4):
                        found += [["==", ["%", a, modulus], rest] for rest in range(modulus)]
                    for b, _ in numbers:
                        if a != b:
                            found += [["==", ["%", a, b], 0], ["not", ["==", ["%", a, b], 0]], ["==", a, ["-", b, 1]], ["<", a, ["-", b, 1]]]
            for (a, v), (b, w) in itertools.product(self.terms, self.terms):
                if any(isinstance(value, list) for value in w) and not any(isinstance(value, list) for value in v):
                    found += [["in", a, b], ["not", ["in", a, b]]]
            for condition in found:
                values = self.values(condition)
                if values is not None and any(values) and not all(values):
                    self.conditions.setdefault(tuple(values), condition)
        return [(condition, values) for values, condition in self.conditions.items()]

    def lookup(self, wanted):
        for e, v in self.terms:
            if any(isinstance(value, (list, float)) or (is_number(value) and abs(value) > 16) for value in v) or isinstance(e, list):
                continue
            table = {}
            if all(same(table.setdefault(frozen(value), (value, result))[1], result) for value, result in zip(v, wanted)) and len(table) < len(v) + 1:
                if all(isinstance(value, (str, bool, type(None))) for value in v):
                    return ["of", e, [[value, result] for value, result in table.values()]]
        return None

    def branches(self, wanted, depth):
        # Whether a key is set is the usual question: what follows may be less simple then.
        conditions = [(c, v) for c, v in self.all_conditions() if len(self.points) > 2]
        first = [(c, v, 3) for c, v in conditions if c[0] in ("true", "null") and isinstance(c[1], str)]
        for condition, values, deep in [*first, *((c, v, 1) for c, v in conditions)]:
            sides = []
            for side in (True, False):
                chosen = [place for place, value in enumerate(values) if value is side]
                part = Table.__new__(Table)
                part.points = [self.points[place] for place in chosen]
                part.terms = [(e, [v[place] for place in chosen]) for e, v in self.terms]
                part.conditions, part.binary = {}, None
                found = part.solve([wanted[place] for place in chosen], deep if deep == 1 or depth < 3 else 3, deep > 1)
                if found is None or (len(chosen) < 2 and len(self.points) > 12 and isinstance(found[0], list) and found[0][0] != "="):
                    break
                sides.append(found[0])
            else:
                return [["if", condition, *sides]]
        return None
