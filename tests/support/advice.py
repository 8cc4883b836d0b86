"""Does what a message says, word for word, as a user who knows no more than the message."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.changes import remove
from tests.support.stages import Outcome, Toy

MOST = 5  # pieces of advice, one after the other, before a user gives up


@dataclass
class Command:
    """What the user ran last: stages `first` to `last` of a recipe."""

    toy: Toy
    first: int
    last: int

    def again(self, first: int | None = None, *, force: str = "false") -> Outcome:
        """Run the same, from another stage on or with --force true."""
        self.first = first or self.first
        return self.toy.run(self.first, self.last, force=force)

    def without(self, path: str, first: int | None = None) -> Outcome:
        """Remove what a message names, and run the same."""
        remove(self.toy.directory / path)
        return self.again(first)


MAKES = {"data/folds/": 2, "data/": 1, "dump/": 3}  # as the README and --help say
PATH = r"(data\S*|dump/\S+)"
STAGE = r"stages? (\d)(?: and \d)?(?: \([\w, ]+\))?"


def maker(path: str) -> int:
    """The stage that makes a file."""
    return next(stage for beginning, stage in MAKES.items() if path.startswith(beginning))


# What messages advise, and what it means. The first that is found is done.
ADVICE: dict[str, Callable[[Command, re.Match[str]], Outcome]] = {
    rf"^(\S+) .*; move it away and run {STAGE} again": lambda c, m: c.without(m[1], int(m[2])),
    rf"{STAGE}(?: again)? with --force true": lambda c, m: c.again(int(m[1]), force="true"),
    r"run\.sh with --force true trains again from stage (\d)": lambda c, m: c.again(
        int(m[1]), force="true"
    ),
    r"(?:[;,] |again with )--force true": lambda c, _: c.again(force="true"),
    r"^(\S+) .*; (?:move it away or )?delete it": lambda c, m: c.without(m[1]),
    r"^(\S+/folds/[^/]+)/.*; delete the scheme's directory and run stage 2": lambda c, m: c.without(
        m[1], 2
    ),
    rf"run {STAGE}(?: again)?": lambda c, m: c.again(int(m[1])),
    rf"{PATH}(?: is empty)?; run the stage that makes it": lambda c, m: c.again(maker(m[1])),
    rf"{PATH} does not end in .*; make it again": lambda c, m: c.again(maker(m[1])),
    r"run the stage again": lambda c, _: c.again(),
}


def follow(command: Command, ended: Outcome) -> tuple[Outcome, list[str]]:
    """Do what messages say until there are none; returns how it ended, and the messages.

    It ends with the last message where advice goes in a circle, is none that is known here, or
    never ends.
    """
    said: list[str] = []
    while ended.code == 1 and len(said) < MOST:
        message = ended.said.splitlines()[0].removeprefix("error: ")
        if message in said:
            break
        said.append(message)
        matches = [(re.search(words, message), act) for words, act in ADVICE.items()]
        found = [(match, act) for match, act in matches if match]
        if not found:
            break
        match, act = found[0]
        ended = act(command, match)
    return ended, said


def kind(message: str) -> str:
    """A message without what differs from one file to the next."""
    return re.sub(r"\S*[/\d]\S*|\(.*?\)", "_", message)
