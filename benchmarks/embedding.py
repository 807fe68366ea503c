"""Compare the server's embeddings per second with its models in a plain loop.

    python benchmarks/embedding.py [--count 60] [--rounds 3]

Before that it prints the processor time of one picture and how much of its caption is read, on one thread.

Both analyse the same captioned memes, in turn. The loop is what a short script would do: one process with the models
loaded, one thread per processor, nothing stored. The server is timed from the first upload to the last embedding, over
HTTP and including its database; its workers are started before, just as the loop's models are loaded before.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import SequenceMatcher
from pathlib import Path

import httpx
from search import library, memes, served  # also makes the modules of the tests importable
from side_by_side import ratio, rounds, show
from sploot_server.domain.text_match import normalize, split_words
from sploot_server.inference.image_analysis import ImageAnalyzer
from sploot_server.inference.text_encoder import TextEncoder
from template_scenes import draw_scene

WARM = 4
CAPTIONED = 100
WORDLESS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=60, help="memes in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        reader = ImageAnalyzer(TextEncoder(), None)
        measure_reading(Path(scratch), reader)
        folders = iter(range(arguments.rounds * 2))

        def drawn() -> list[memes.Meme]:
            """Render new memes each time: the server stores the same bytes only once."""
            seed = next(folders) // 2
            return memes.make(Path(scratch, str(seed)), count=arguments.count, seed=100 + seed)

        with served(Path(scratch, "server"), arguments.threads) as client:
            library(client, memes.make(Path(scratch, "warm"), count=WARM, seed=99))
            loop([meme.path for meme in memes.make(Path(scratch, "warm"), count=WARM, seed=99)], reader, 1)
            contenders = {
                "server": lambda: embedded(client, drawn()),
                "loop": lambda: loop([meme.path for meme in drawn()], reader, arguments.threads),
            }
            took = rounds(arguments.rounds, contenders)
    for name, times in took.items():
        show(f"{name}: {arguments.count} memes", f"{min(times):.1f} s", f"{arguments.count / min(times):.1f} memes/s")
    show("the server against the loop", f"{ratio(took['server'], took['loop']):.2f} x", "at most 1.15 x")


def measure_reading(scratch: Path, reader: ImageAnalyzer) -> None:
    """Analyze captioned memes and scenes without words."""
    wordless = [scratch / f"{number}.jpg" for number in range(WORDLESS)]
    for number, path in enumerate(wordless):
        draw_scene(number).save(path, quality=80)
    captioned = memes.make(scratch / "captioned", count=CAPTIONED, seed=98)
    for each in (captioned[0].path, wordless[0]):
        reader.analyze(each)
    took_s = time.process_time()
    texts = [reader.analyze(meme.path).text for meme in captioned]
    show("processor time of a captioned picture", f"{1000 * (time.process_time() - took_s) / CAPTIONED:.0f} ms")
    took_s = time.process_time()
    for path in wordless:
        reader.analyze(path)
    show("processor time of a picture without words", f"{1000 * (time.process_time() - took_s) / WORDLESS:.0f} ms")
    letters = [share_of_letters(meme.caption, text) for meme, text in zip(captioned, texts, strict=True)]
    words = [share_of_words(meme.caption, text) for meme, text in zip(captioned, texts, strict=True)]
    show("letters read", f"{statistics.mean(letters):.3f}")
    show("words read", f"{statistics.mean(words):.3f}")


def share_of_letters(caption: str, text: str) -> float:
    wanted = normalize(caption)
    blocks = SequenceMatcher(None, wanted, normalize(text), autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / len(wanted)


def share_of_words(caption: str, text: str) -> float:
    wanted, read = split_words(caption), normalize(text)
    return sum(word in read for word in wanted) / len(wanted)


def embedded(client: httpx.Client, drawn: Sequence[memes.Meme]) -> float:
    started = time.perf_counter()
    library(client, drawn)
    return time.perf_counter() - started


def loop(paths: Sequence[Path], reader: ImageAnalyzer, threads: int) -> float:
    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(reader.analyze, paths))
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
