"""Strings and dictionaries: words are made, counted, sorted, formatted, split and joined again."""
import sys


def words(count, state):
    made = []
    for _ in range(count):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        made.append("".join("aeioubcdfgklmnprst"[(state >> shift) % 18] for shift in (3, 7, 11, 16))[: state % 3 + 2])
    return made, state


def count_words(text):
    counts = {}
    for line in text.splitlines():
        for word in line.split():
            counts[word] = counts.get(word, 0) + 1
    return counts


def main():
    iterations = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    checksum, state = 0, 1
    for _ in range(iterations):
        made, state = words(2000, state)
        text = "\n".join(" ".join(made[i : i + 9]) for i in range(0, len(made), 9))
        counts = count_words(text)
        assert sum(counts.values()) == 2000
        ranking = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        table = "".join(f"{rank:5d} {word:<8} {count:>6.2f}\n" for rank, (word, count) in enumerate(ranking))
        upper = table.upper().replace("A", "@").encode("utf-8")
        for byte in upper[:4000]:
            checksum = (checksum * 31 + byte) & 0xFFFFFFFFFFFFFFFF
    print(f"text.py iterations={iterations} checksum={checksum:016x}")


main()
