"""The parser of Program text, the inverse of `text.py`. Errors give line, column, what was expected and what stands there."""
from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, fields
from typing import Any, NoReturn

import numpy as np

from graphc.core.dtypes import from_code
from graphc.core.primitive import lookup
from graphc.core.program import Literal, Node, Origin, Program, make
from graphc.core.text import read_literal
from graphc.core.types import TensorType

_TOKEN = re.compile(r"""(?P<space>[ \t\n]+)|(?P<comment>//[^\n]*)|(?P<name>%\w+)|(?P<string>"(?:[^"\\\n]|\\.)*")
    |(?P<type>(?:bf|[fiuc])\d+\[[\d,]*\]|pred\[[\d,]*\])|(?P<number>-?(?:\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?|inf\b|nan\b))
    |(?P<word>[A-Za-z_]\w*)|(?P<sign>[(){}\[\]=,:])""", re.VERBOSE)
_ORIGIN = re.compile(r"(?P<operation>[^(;]+?)(?: \((?P<source>.*)\))?$")
_KINDS = {"name": "a name like %0", "word": "a word", "string": "a string", "type": "a type like f32[2,3]", "end": "the end of the text"}
# What a primitive's type rule may raise when its attributes are of the wrong kind: text can say anything.
_BAD_ATTRIBUTES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class ParseError(ValueError):
    """Text that is not a program: `line`, `column` (from 1) and what was wrong."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {message}")
        self.message = message
        self.line = line
        self.column = column

    def at(self, line: int, column: int) -> ParseError:
        """The same error in a text that begins at this place of a longer one."""
        return ParseError(self.message, self.line + line - 1, self.column + (column - 1 if self.line == 1 else 0))


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    line: int
    column: int


def _tokens(text: str) -> list[_Token]:
    result = []
    position, line, start = 0, 1, 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ParseError(f"unexpected character {text[position]!r}", line, position - start + 1)
        kind, piece = str(match.lastgroup), match.group()
        if kind != "space":
            result.append(_Token(kind, piece, line, position - start + 1))
        if "\n" in piece:
            line += piece.count("\n")
            start = position + piece.rindex("\n") + 1
        position = match.end()
    result.append(_Token("end", "the end of the text", line, position - start + 1))
    return result


def parse_program(text: str) -> Program:
    """The Program that `text` describes; ParseError with line and column where it describes none."""
    parser = _Parser(_tokens(text))
    program = parser.program()
    parser.expect("end")
    return program


def parse_attributes(text: str, line: int = 1, column: int = 1) -> dict[str, Any]:
    """The values by name that `{a = 1, b = [2, 3]}` describes, as `text.print_value` spells them; a comment may follow.

    line and column: where `text` stands in what the user wrote, for the ParseError.
    """
    try:
        parser = _Parser(_tokens(text))
        values = parser.attributes()
        parser.expect("end")
    except ParseError as error:
        raise error.at(line, column) from None
    return values


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self.line = 0  # of the last token taken
        self.comment: _Token | None = None  # the comment after that token, on its line

    # --- tokens
    def peek(self) -> _Token:
        while self.tokens[self.position].kind == "comment":
            if self.tokens[self.position].line == self.line:
                self.comment = self.tokens[self.position]
            self.position += 1
        return self.tokens[self.position]

    def next(self) -> _Token:
        token = self.peek()
        self.position += token.kind != "end"
        self.line, self.comment = token.line, None
        return token

    def expect(self, kind: str, text: str | None = None) -> _Token:
        token = self.next()
        if token.kind != kind or (text is not None and token.text != text):
            self.fail(f"expected {text or _KINDS[kind]}, found {token.text!r}", token)
        return token

    def accept(self, text: str) -> bool:
        if self.peek().text != text or self.peek().kind == "string":
            return False
        self.next()
        return True

    def fail(self, message: str, token: _Token) -> NoReturn:
        raise ParseError(message, token.line, token.column)

    # --- grammar
    def program(self) -> Program:
        self.expect("word", "program")
        self.expect("sign", "{")
        names: dict[str, Node] = {}
        origins: dict[Node, tuple[Origin, ...]] = {}
        while self.peek().kind == "name":
            self.statement(names, origins)
        nodes = tuple(dict.fromkeys(names.values()))
        parameters = tuple(n for n in nodes if n.name == "parameter")
        if self.accept("takes"):
            parameters = self.references(names)
        self.expect("word", "return")
        outputs = self.references(names)
        effects = self.references(names) if self.accept("effects") else ()
        self.expect("sign", "}")
        return Program(parameters, outputs, effects, nodes, origins)

    def references(self, names: dict[str, Node]) -> tuple[Node, ...]:
        result = []
        while self.peek().kind == "name":
            result.append(self.reference(names))
            if not self.accept(","):
                break
        return tuple(result)

    def reference(self, names: dict[str, Node]) -> Node:
        token = self.expect("name")
        if token.text not in names:
            self.fail(f"{token.text} is not defined above", token)
        return names[token.text]

    def statement(self, names: dict[str, Node], origins: dict[Node, tuple[Origin, ...]]) -> None:
        target = self.expect("name")
        if target.text in names:
            self.fail(f"{target.text} is defined twice", target)
        self.expect("sign", "=")
        word = self.expect("word")
        try:
            primitive = lookup(word.text)
        except KeyError as error:
            self.fail(str(error.args[0]), word)
        self.expect("sign", "(")
        operands = self.references(names)
        self.expect("sign", ")")
        given = self.attributes() if self.peek().text == "{" else {}
        declared = [f.name for f in fields(primitive.attrs)]
        if sorted(given) != sorted(declared):
            self.fail(f"{word.text} has attributes {', '.join(declared) or 'none'}, not {', '.join(given) or 'none'}", word)
        try:
            node = make(primitive, operands, primitive.attrs(**given))
        except _BAD_ATTRIBUTES as error:
            self.fail(f"{word.text} cannot be made: {error}", word)
        self.types(node, word)
        names[target.text] = node
        self.origin(node, origins)

    def types(self, node: Node, word: _Token) -> None:
        self.expect("sign", ":")
        types = [self.type()]
        while self.accept(","):
            types.append(self.type())
        if tuple(types) != node.types:
            self.fail(f"{word.text} gives {', '.join(map(str, node.types))}, not {', '.join(map(str, types))}", word)

    def origin(self, node: Node, origins: dict[Node, tuple[Origin, ...]]) -> None:
        self.peek()
        if self.comment is not None:
            found = [_ORIGIN.match(part.strip()) for part in self.comment.text[2:].split(";")]
            origins[node] = tuple(Origin(m["operation"], "", m["source"] or "") for m in found if m)

    def attributes(self) -> dict[str, Any]:
        self.expect("sign", "{")
        result: dict[str, Any] = {}
        while not self.accept("}"):
            name = self.expect("word")
            if name.text in result:
                self.fail(f"attribute {name.text} is given twice", name)
            self.expect("sign", "=")
            result[name.text] = self.value()
            if self.peek().text != "}":
                self.expect("sign", ",")
        return result

    def value(self) -> Any:
        token = self.peek()
        if token.text == "[":
            return self.sequence()
        if token.text == "program":
            return self.program()
        if token.text == "dense":
            return self.literal()
        self.next()
        if token.kind == "string":
            return re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r"}.get(m[1], m[1]), token.text[1:-1])
        if token.kind == "number":
            return number(token.text)
        if token.kind == "type":
            return self.type_of(token)
        if token.text in ("true", "false", "none"):
            return {"true": True, "false": False, "none": None}[token.text]
        try:
            return from_code(token.text)
        except KeyError:
            self.fail(f"expected a value, found {token.text!r}", token)

    def sequence(self) -> tuple[Any, ...]:
        self.expect("sign", "[")
        items = []
        while not self.accept("]"):
            items.append(self.value())
            if self.peek().text != "]":
                self.expect("sign", ",")
        return tuple(items)

    def type(self) -> TensorType:
        return self.type_of(self.expect("type"))

    def type_of(self, token: _Token) -> TensorType:
        code, _, dims = token.text[:-1].partition("[")
        try:
            return TensorType(from_code(code), tuple(int(d) for d in dims.split(",")) if dims else ())
        except (KeyError, ValueError):
            raise ParseError(f"{token.text!r} is not a type", token.line, token.column) from None

    def literal(self) -> Literal:
        start = self.expect("word", "dense")
        type_ = self.type()
        try:
            return Literal(self.elements(type_))
        except (ValueError, OverflowError, MemoryError, binascii.Error) as error:
            if isinstance(error, ParseError):
                raise
            self.fail(f"the elements do not make {type_}: {error}", start)

    def elements(self, type_: TensorType) -> np.ndarray[Any, Any]:
        if self.accept("splat"):
            return read_literal(type_, [self.next().text])
        if self.accept("base64"):
            raw = base64.b64decode(self.expect("string").text[1:-1])
            return np.frombuffer(raw, dtype=type_.dtype.np_dtype).reshape(type_.dims)
        self.expect("sign", "[")
        values = []
        while not self.accept("]"):
            values.append(self.next().text)
            if self.peek().text != "]":
                self.expect("sign", ",")
        if len(values) != type_.size:
            raise ValueError(f"{len(values)} values")
        return read_literal(type_, values) if values else np.empty(type_.dims, type_.dtype.np_dtype)


def number(text: str) -> int | float:
    """The number that `text` spells: an int where it has neither point nor exponent."""
    try:
        return int(text)
    except ValueError:
        return float(text)
