"""Collect the problems that would keep a job from starting, and its warnings."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from wemoe_pl.errors import WeMoEError, sentence_of
from wemoe_pl.system.hub import HubFiles
from wemoe_pl.system.hub_repo import HubRepo


@dataclass
class Findings:
    """Findings are the problems and warnings that a check has found so far.

    Args:
        problems: sentences on what would keep the job from starting; each begins with the name
            of the part of the job that it is about.
        warnings: sentences of the same form, on what would not keep the job from starting.
        waiting: bytes of files on the hub that the local cache lacks, by repository and kind of
            file.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    waiting: dict[tuple[HubRepo, str], int] = field(default_factory=dict)

    def problem(self, part: str, sentence: str) -> None:
        """Add a sentence on what would keep the job from starting."""
        add(self.problems, part, sentence)

    def warning(self, part: str, sentence: str) -> None:
        """Add a sentence on what is odd, but would not keep the job from starting."""
        add(self.warnings, part, sentence)

    def size_to_fetch(self, request: HubFiles | None) -> int:
        """Return the bytes of files that the hub's cache lacks, and note them; 0 if it has all.

        Raises:
            HubError: the hub does not have the files either, or cannot be reached.
        """
        if request is None or request.cached() is not None:
            return 0
        size = sum(file.size for file in request.announced())
        self.waiting[request.repo, request.wanted] = size
        return size

    @contextmanager
    def listed(self, part: str) -> Iterator[None]:
        """List the warnings of a block and the error that ends it; the error is not passed on.

        >>> found = Findings()
        >>> with found.listed("cars"):
        ...     warnings.warn("2 images are skipped.")
        ...     raise WeMoEError("There is no folder cars.")
        >>> found.problems, found.warnings
        (['cars: There is no folder cars.'], ['cars: 2 images are skipped.'])
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.filterwarnings("always", category=UserWarning)
            try:
                yield
            except (WeMoEError, OSError) as error:
                self.problem(part, sentence_of(error))
        for warning in caught:
            if issubclass(warning.category, UserWarning):  # others are for programmers
                self.warning(part, str(warning.message))


def add(sentences: list[str], part: str, sentence: str) -> None:
    """Add a sentence about a part, unless it is in the list."""
    if (line := f"{part}: {sentence}") not in sentences:
        sentences.append(line)
