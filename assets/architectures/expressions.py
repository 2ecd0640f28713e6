"""Expressions over a configuration: how they are evaluated, and how the simplest one that gives some observed values is found.

An expression is JSON. A text is a key of the configuration (`vision_config.hidden_size` is one in a nested one); a number, a
truth value and null are themselves; a list is a function and its arguments:

    ["=", value]  a constant       ["i", n]  the number of the module in the n-th repetition around it, 0 the innermost
    + - * / // % ^ min max         of two numbers; // rounds down, "int*" cuts a product off to a whole number
    ["at", list, number]  ["len", list]  ["list", …]  ["each", count, expression of its number]
    == < in not null               conditions; ["true", a] as Python takes any value for one
    ["size", tensor, dimension]  of a tensor of the file, in or below the module (only as the whole of an attribute)
    ["if", condition, a, b]        ["of", a, [[value, result], …]], which is unknown for another value
"""

import itertools
import json
import math
import time

from sums import LARGEST, Sums


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
# For each of these, and for each when they are used up.
SECONDS_EACH = 0.6
SECONDS_LATE = 0.05
MOST_TERMS = 16
MOST_ROWS = 48


class Finder:
    """Finds expressions for values observed at (configuration, index) rows."""

    def __init__(self, base, singles, seconds=SEARCH, is_brief=False):
        """`base`: the first build's number; `singles`: builds in which one key was changed, each with the build that it is a change
        of and the flat keys that differ;
        `seconds` for what is not found at once; `is_brief`: few keys were changed, so what never varies may follow one all the same."""
        self.base, self.singles, self.is_brief = base, singles, is_brief
        self.hints, self.found, self.tables = {}, {}, {}
        self.pool, self.codes = {}, {}
        self.last = self.until = time.process_time() + seconds

    def find(self, rows, envs, values, hint=None):
        """`rows`: (build, index) of each value. An expression; Unknown is raised where none is found."""
        name = hint[1] if hint is not None else None
        if self.is_key(name, rows, envs, values):
            return name
        there = [place for place, value in enumerate(values) if value is not None]
        if 0 < len(there) < len(values) and self.is_key(name, [rows[place] for place in there], envs, [values[place] for place in there]):
            return ["if", self.find(rows, envs, [value is None for value in values]), None, name]
        alike = all(same(values[0], value) for value in values[1:])
        if not alike or (self.is_brief and hint is not None and not hint[0].startswith("torch.")):
            for known in self.hints.get(hint, ()):
                if self.holds(known, rows, envs, values):
                    return known
        if alike:
            return constant(values[0])
        mark = (tuple(rows), tuple(frozen(value) for value in values))
        if mark not in self.found:
            try:
                self.found[mark] = self.search(rows, envs, values)
            except Unknown:
                self.found[mark] = self.by_first(rows, envs, values)
        found = self.found[mark]
        if found is None:
            raise Unknown
        if hint is not None:
            self.hints.setdefault(hint, []).append(found)
        if isinstance(found, list) and found[0] in ARITHMETIC and all(map(is_number, values)):
            self.pool.setdefault(json.dumps(found), (found, keys_of(found)))
        return found

    def by_first(self, rows, envs, values):
        """What the first of a repetition has apart from the others; None where one of the two is not found either."""
        depth = len(rows[0][1])
        for back in range(depth):
            parts = ([], [])
            for place, (_, index) in enumerate(rows):
                parts[index[depth - 1 - back] != 0].append(place)
            if not all(parts):
                continue
            try:
                found = [self.find([rows[place] for place in part], envs, [values[place] for place in part]) for part in parts]
            except Unknown:
                continue
            return ["if", ["==", ["i", back], 0], *found]
        return None

    @staticmethod
    def holds(expression, rows, envs, values):
        try:
            return all(same(evaluate(expression, envs[build], index), value) for (build, index), value in zip(rows, values))
        except Unknown:
            return False

    def code(self, key, envs):
        """A key's value in each configuration, as something that can be compared."""
        if key not in self.codes:
            self.codes[key] = [frozen(env.get(key)) for env in envs]
        return self.codes[key]

    def suspects(self, rows, envs, values):
        """Keys that change the value when they alone are changed, and keys that vary with them."""
        at = {row: value for row, value in zip(rows, values)}
        keys = {}
        for (build, index), value in zip(rows, values):
            of, changed = self.singles.get(build, (self.base, ()))
            there = (of, index)
            if there in at and not same(at[there], value):
                for key in changed:
                    keys[key] = keys.get(key, 0) + 1
        varies = {}
        for (build, index), value in zip(rows, values):
            varies.setdefault(build, []).append(value)
        inside = any(not all(same(several[0], value) for value in several) for several in varies.values())
        return sorted(keys, key=lambda key: (-keys[key], len(key), key)), inside

    def is_key(self, name, rows, envs, values):
        """Whether an attribute is the key of its own name."""
        return name in envs[rows[0][0]] and self.holds(name, rows, envs, values)

    def search(self, rows, envs, values):
        now = time.process_time()
        # What is simple is found all the same when the time is up.
        self.is_late = now > self.last
        self.until = max(min(self.last, now + SECONDS_EACH), now + SECONDS_LATE)
        length = len(values[0]) if isinstance(values[0], (list, tuple)) else 0
        if 0 < length <= 8 and all(isinstance(value, (list, tuple)) and len(value) == length for value in values):
            # A list as it is in the configuration, or of parts that follow keys of their own.
            try:
                return self.plan(rows, envs, values, shallow=True)
            except Unknown:
                return ["list", *[self.find(rows, envs, [value[place] for value in values]) for place in range(length)]]
        try:
            return self.plan(rows, envs, values)
        except Unknown:
            absent = [value is None for value in values]
            if not any(absent) or all(absent):
                raise
        # What there is follows keys of its own, apart from whether there is any.
        there = [place for place, is_absent in enumerate(absent) if not is_absent]
        rest = self.find([rows[place] for place in there], envs, [values[place] for place in there])
        return ["if", self.find(rows, envs, absent), None, rest]

    def plan(self, rows, envs, values, shallow=False):
        keys, inside = self.suspects(rows, envs, values)
        builds = sorted({build for build, _ in rows})
        every = [key for key in envs[builds[0]] if len({code[build] for code in [self.code(key, envs)] for build in builds}) > 1]
        if shallow:
            return self.enumerate(rows, envs, values, keys[:4], inside, 1)
        plans = itertools.chain(
            ((keys[:1], 3), (keys[:2], 3), (keys[:4], 3), (keys[:MOST_TERMS], 2)),
            ((chosen, 3) for chosen in self.deciding(rows, envs, values, keys[:3], every, inside)),
            ((every, 1),),
        )
        for chosen, depth in itertools.islice(plans, 2) if self.is_late else plans:
            if (not chosen and not inside) or (depth > 1 and time.process_time() > self.until):
                continue
            try:
                return self.enumerate(rows, envs, values, chosen, inside, depth)
            except Unknown:
                continue
        raise Unknown

    def deciding(self, rows, envs, values, keys, every, inside):
        """`keys` with one or two more that have an effect only together with them: all that decide the value."""
        if len(every) > 150 or len(rows) > 3000:
            return
        wanted = [frozen(value) for value in values]
        others = [key for key in every if key not in keys]
        for size in (1, 2):
            for more in itertools.combinations(others, size):
                if time.process_time() > self.until:
                    return
                codes = [self.code(key, envs) for key in (*keys, *more)]
                seen = {}
                for (build, index), value in zip(rows, wanted):
                    if seen.setdefault((*[code[build] for code in codes], index if inside else ()), value) != value:
                        break
                else:
                    if len(seen) < len(rows) * 0.8 + 1:
                        yield [*keys, *more]

    def enumerate(self, rows, envs, values, keys, inside, depth):
        # Rows that are the same in all that can matter are one.
        distinct = {}
        builds = {build for build, _ in rows}
        codes = [self.code(key, envs) for key in keys]
        marks = {build: tuple(code[build] for code in codes) for build in builds}
        for (build, index), value in zip(rows, values):
            mark = (marks[build], index if inside else ())
            if mark in distinct:
                if not same(distinct[mark][2], value):
                    raise Unknown
            else:
                distinct[mark] = (build, index, value)
        # Some of each value.
        several = {}
        for place, (_, _, value) in enumerate(distinct.values()):
            several.setdefault(frozen(value), []).append(place)
        turns = itertools.chain.from_iterable(itertools.zip_longest(*several.values()))
        places = sorted(itertools.islice((place for place in turns if place is not None), MOST_ROWS))
        all_distinct = list(distinct.items())
        kept = [all_distinct[place][1] for place in places]
        if len(kept) < 2:
            raise Unknown
        points = [(envs[build], index) for build, index, _ in kept]
        wanted = [value for _, _, value in kept]
        pool = [known for known, own in self.pool.values() if own and own <= set(keys)][:6] if depth == 3 and len(keys) > 1 else []
        mark = (tuple(keys), inside, tuple(all_distinct[place][0] for place in places), json.dumps(pool))
        if mark not in self.tables:
            self.tables[mark] = Table(points, keys, inside, pool, self.until)
        table = self.tables[mark]
        table.until = self.until
        found = table.solve(wanted, depth)
        if found is None:
            raise Unknown
        expression = found[0]
        if not self.holds(expression, rows, envs, values):
            raise Unknown
        return expression


class Table:
    """Values of terms at some points, and what can be made of them."""

    steps = 0

    def __init__(self, points, keys, inside, pool=(), until=math.inf):
        self.points, self.until = points, until
        self.terms, self.conditions, self.is_part = [], {}, False
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
            # Stage by stage sizes double.
            self.term(["^", 2, ["i", n]])
        for known in pool:
            self.term(known)
        self.sums = None

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

    def solve(self, wanted, depth, nest=2):
        """[expression], or None; branches are in one another `nest` times at most."""
        target = self.mark(wanted)
        if all(same(wanted[0], value) for value in wanted):
            # Of few configurations a size is more often a key's than itself.
            if self.is_part and is_number(wanted[0]) and wanted[0] > 1:
                for expression, values in self.terms:
                    if isinstance(expression, str) and self.mark(values) == target:
                        return [expression]
            return [constant(wanted[0])]
        for expression, values in self.terms:
            if self.mark(values) == target:
                return [expression]
        if all(is_number(value) for value in wanted):
            found = self.arithmetic(target, wanted, depth)
            if found is not None:
                return [found]
        if all(isinstance(value, bool) for value in wanted):
            found = self.condition(tuple(wanted), depth >= 2)
            if found is not None:
                return [found]
        found = self.lookup(wanted)
        if found is not None:
            return [found]
        if depth >= 2 and nest:
            return self.one_side(wanted, depth, nest) or self.branches(wanted, depth, nest)
        return None

    def arithmetic(self, target, wanted, depth):
        if self.sums is None:
            numbers = [(e, v) for e, v in self.terms if all(map(is_number, v)) and all(abs(value) < LARGEST for value in v)]
            self.sums = Sums(numbers, len(self.points))
        if not all(abs(value) < LARGEST for value in wanted):
            return None

        # Of sums that happen to be nothing or one there are too many.
        is_switch = all(value in (0, 1) for value in wanted)

        def fits(expression):
            if is_switch and '"%"' not in json.dumps(expression):
                return False
            values = self.values(expression)
            return values is not None and self.mark(values) == target

        return next(filter(fits, self.sums.candidates(wanted, depth, self.is_late)), None)

    def is_late(self):
        """Whether the time is up; looked at now and then."""
        self.steps += 1
        return self.steps % 16 == 0 and time.process_time() > self.until

    def all_conditions(self):
        if not self.conditions:
            found = []
            for e, v in self.terms:
                lists = [value for value in v if isinstance(value, list)]
                items = {frozen(item): item for value in lists for item in value if isinstance(item, str)}
                if lists and len(items) <= 8:
                    for item in items.values():
                        found += [["in", ["=", item], e], ["not", ["in", ["=", item], e]]]
            for e, v in self.terms:
                found.append(["true", e])
                found.append(["not", e])
                if any(value is None for value in v):
                    found += [["null", e], ["not", ["null", e]]]
                distinct = {frozen(value): value for value in v}
                if len(distinct) <= 8:
                    for value in distinct.values():
                        # A size that has a meaning of its own is more often a chance.
                        if isinstance(e, str) and (isinstance(value, list) or (is_number(value) and value not in (-1, 0, 1))):
                            continue
                        found += [["==", e, constant(value)], ["not", ["==", e, constant(value)]]]
            numbers = [(e, v) for e, v in self.terms if all(map(is_number, v))]
            for (a, _), (b, _) in itertools.permutations(numbers, 2):
                found += [["<", a, b], ["not", ["<", a, b]], ["==", a, b], ["not", ["==", a, b]]]
            for a, v in numbers:
                for number in (0, 1, 2):
                    found += [["<", number, a], ["not", ["<", number, a]]]
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
                if self.is_late():
                    break
                values = self.values(condition)
                if values is not None and any(values) and not all(values):
                    self.conditions.setdefault(tuple(values), condition)
        return [(condition, values) for values, condition in self.conditions.items()]

    def lookup(self, wanted):
        for e, v in self.terms:
            if any(isinstance(value, (list, float)) or (is_number(value) and abs(value) > 16) for value in v):
                continue
            if isinstance(e, list) and not (e[0] == "at" and all(isinstance(value, str) for value in v)):
                continue
            table = {}
            if all(same(table.setdefault(frozen(value), (value, result))[1], result) for value, result in zip(v, wanted)):
                if self.is_part and len(v) < 2 * len(table):
                    continue
                if all(isinstance(value, (str, bool, type(None))) for value in v):
                    return ["of", e, [[value, result] for value, result in table.values()]]
        return None

    def condition(self, wanted, may_be_two):
        """A condition that holds at these points, or two together; None where there is none."""
        self.all_conditions()
        if wanted in self.conditions:
            return self.conditions[wanted]
        if not may_be_two or len(self.points) < 8:
            return None
        bits = lambda values: sum(1 << place for place, value in enumerate(values) if value)  # noqa: E731
        target = bits(wanted)
        every = [(condition, bits(values)) for values, condition in self.conditions.items()]
        above = [(c, b) for c, b in every if b & target == target][:150]
        below = [(c, b) for c, b in every if b | target == target][:150]
        for (c, a), (d, b) in itertools.combinations(above, 2):
            if a & b == target:
                return ["if", c, d, False]
        for (c, a), (d, b) in itertools.combinations(below, 2):
            if a | b == target:
                return ["if", c, True, d]
        return None

    def part(self, chosen):
        """The same of some of the points."""
        part = Table.__new__(Table)
        part.points, part.until = [self.points[place] for place in chosen], self.until
        part.terms = [(e, [v[place] for place in chosen]) for e, v in self.terms]
        part.conditions, part.sums, part.is_part = {}, None, True
        return part

    def one_side(self, wanted, depth, nest):
        """One value where a condition holds, something that is searched for elsewhere."""
        distinct = {}
        for value in wanted:
            distinct.setdefault(frozen(value), [value, 0])[1] += 1
        likely = sorted(distinct.values(), key=lambda known: (known[0] is not None, isinstance(known[0], list), -known[1]))
        for value, count in likely[:4]:
            if (count < 2 and value is not None) or time.process_time() > self.until:
                continue
            there = tuple(same(value, other) for other in wanted)
            condition = self.condition(there, True)
            if condition is None:
                continue
            rest = [place for place, is_there in enumerate(there) if not is_there]
            found = self.part(rest).solve([wanted[place] for place in rest], depth, nest - 1)
            if found is not None:
                return [["if", condition, constant(value), found[0]]]
        return None

    def branches(self, wanted, depth, nest):
        # Whether a key is set is the usual question: what follows may be less simple then.
        conditions = [(c, v) for c, v in self.all_conditions() if len(self.points) > 2]
        first = [(c, v, 3) for c, v in conditions if c[0] in ("true", "null", "==") and isinstance(c[1], str) and not (c[0] == "==" and is_number(c[2]))]
        for condition, values, deep in [*first, *((c, v, 1) for c, v in conditions)]:
            if time.process_time() > self.until:
                return None
            sides = []
            for side in (True, False):
                chosen = [place for place, value in enumerate(values) if value is side]
                found = self.part(chosen).solve([wanted[place] for place in chosen], min(deep, depth), nest - 1)
                if found is None or (len(chosen) < 2 and len(self.points) > 12 and isinstance(found[0], list) and found[0][0] != "="):
                    break
                sides.append(found[0])
            else:
                return [["if", condition, *sides]]
        return None


def keys_of(expression):
    """Keys of the configuration in an expression."""
    if isinstance(expression, str):
        return {expression}
    if not isinstance(expression, list) or expression[0] == "=":
        return set()
    return set().union(*map(keys_of, expression[1:]))
