"""What a night will take, printed: names of samples stand there as they are."""

from __future__ import annotations

from daemon.planning.estimate import CheckReport, SlideOutlook, render


def test_a_sample_whose_name_looks_like_markup_is_printed_as_it_is() -> None:
    slides = tuple(SlideOutlook(n, name, 1, 2, 3, 4, 5.0) for n, name in enumerate(("[red]a[/]", "[/b]", "\\[x]"), 1))
    text = render(
        CheckReport(slides, ring_bytes=1, retained_bytes=1, fused_bytes=1, every_fused_bytes=1, notes=("[b]note",))
    )
    for name in ("[red]a[/]", "[/b]", "\\[x]", "[b]note"):
        assert name in text
