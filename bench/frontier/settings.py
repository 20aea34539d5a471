"""The settings that policies are judged in: worlds, workers, visits. Fixed before any figure was seen."""

from dataclasses import dataclass
from random import Random

from bench.frontier.worlds import TREES, Flat, Guess, Tree, World, abrupt, gradual, unchanged


@dataclass(frozen=True, slots=True)
class Setting:
    name: str
    world: World
    workers: int
    measure: str
    gate: float | None = None
    lost: float = 0.0


def gates() -> list[Setting]:
    trees = {"T1": 0.90, "T2": 0.75, "T3": 0.71, "T4": 0.76, "T5": 0.47}
    flats = {10: 70.0, 50: 250.0, 200: 680.0}
    return [
        *(Setting(name, TREES[name], 16, "reward", gate) for name, gate in trees.items()),
        *(Setting(f"flat K={k}", Flat(k, graded=False), 16, "regret", gate) for k, gate in flats.items()),
        Setting("flat K=50 graded", Flat(50, graded=True), 16, "regret", 85.0),
        Setting("flat K=50", Flat(50, graded=False), 1, "regret"),
        Setting("flat K=50", Flat(50, graded=False), 64, "regret"),
        Setting("flat K=50, 10% lost", Flat(50, graded=False), 16, "regret", lost=0.1),
    ]


def listed() -> list[Setting]:
    """All that the gates are about: trees, flat worlds and depletion, with few and many workers."""
    found = [Setting(name, tree, w, "reward") for name, tree in TREES.items() for w in (4, 16, 64)]
    for k in (10, 50, 200):
        for graded in (False, True):
            name = f"flat K={k}{' graded' if graded else ''}"
            found += [Setting(name, Flat(k, graded), w, "regret") for w in (16, 64)]
    for drift in (abrupt, gradual):
        for graded in (False, True):
            name = f"{drift.__name__} K=50{' graded' if graded else ''}"
            found.append(Setting(name, Flat(50, graded, drift=drift), 16, "reward"))
    return found


def compared() -> list[Setting]:
    """Those in which all policies are shown side by side."""
    return [
        *(Setting(name, tree, 16, "reward") for name, tree in TREES.items()),
        *(Setting(f"flat K={k}", Flat(k, graded=False), 16, "regret") for k in (50, 200)),
        *(
            Setting(f"{drift.__name__} K=50", Flat(50, False, drift=drift), 16, "reward")
            for drift in (abrupt, gradual)
        ),
    ]


def variants() -> list[Setting]:
    """Variants that were looked at while the default was made."""
    return [
        Setting("many roots", Tree(root_count=40, roots_in=(0.05, 0.6), ratio=0.95, drift=0.1), 16, "reward"),
        Setting("barren", Tree(fertility=(0.1, 0.15), drift=0.02, root_count=12), 16, "reward"),
        Setting("fertile", Tree(litter=6, ratio=0.8, drift=0.1, spread=0.15), 16, "reward"),
        Setting("spent at once", Tree(ratio=0.5, drift=0.05, spread=0.1), 16, "reward"),
        Setting("rising", Tree(drift=-0.02, spread=0.05, ratio=0.97), 16, "reward"),
        Setting("wild priors", Tree(ratio=0.95, drift=0.3, spread=0.4), 16, "reward"),
        Setting("binary tree", Tree(ratio=0.9, drift=0.1, spread=0.15, binary=True), 16, "reward"),
        Setting("noisy tree", Tree(ratio=0.9, drift=0.1, spread=0.15, concentration=2.0), 16, "reward"),
        Setting("clear tree", Tree(ratio=0.9, drift=0.15, spread=0.15, concentration=60.0), 16, "reward"),
        Setting("long tree", Tree(ratio=0.9, drift=0.12, spread=0.12, visits=4_000), 32, "reward"),
        Setting("flat low K=100", Flat(100, graded=False, means=(0.0, 0.2)), 16, "regret"),
        Setting(
            "flat high K=100", Flat(100, graded=True, means=(0.8, 1.0), concentration=20.0), 16, "regret"
        ),
        Setting("flat K=1000", Flat(1_000, graded=True), 16, "regret"),
        Setting("flat short", Flat(50, graded=False, visits=300), 16, "regret"),
    ]


def known() -> list[Setting]:
    """Settings that were held out once. Their results have been looked at since: they count as known."""
    return [
        *drawn("held out", 30),
        Setting("slow decay tree", Tree(ratio=0.96, drift=0.1, spread=0.12, root_count=8), 8, "reward"),
        Setting("steep tree", Tree(ratio=0.7, drift=0.12, spread=0.2, root_count=8), 24, "reward"),
        Setting(
            "poor roots", Tree(roots_in=(0.02, 0.1), drift=0.02, spread=0.15, root_count=10), 16, "reward"
        ),
        Setting("binary steady tree", Tree(drift=0.1, spread=0.1, binary=True, root_count=8), 16, "reward"),
        Setting(
            "few children", Tree(litter=1, fertility=(0.3, 0.3), ratio=0.95, root_count=20), 16, "reward"
        ),
        Setting("short tree", Tree(ratio=0.9, drift=0.1, visits=200, root_count=8), 8, "reward"),
        Setting("wide tree", Tree(root_count=100, roots_in=(0.1, 0.9), ratio=0.9, drift=0.15), 32, "reward"),
        Setting("coins 0.3-0.7 K=30", Flat(30, graded=False, means=(0.3, 0.7)), 32, "regret"),
        Setting("graded 0-0.5 K=80", Flat(80, graded=True, means=(0.0, 0.5)), 8, "regret"),
        Setting("graded noisy K=20", Flat(20, graded=True, concentration=1.5), 16, "regret"),
        Setting("abrupt K=200", Flat(200, graded=True, drift=abrupt), 32, "reward"),
        Setting("gradual K=10", Flat(10, graded=False, drift=gradual, visits=1_500), 8, "reward"),
    ]


def drawn(seed: str, count: int) -> list[Setting]:
    """Settings drawn at random from wide ranges, in equal parts trees, flat worlds and short runs."""
    rng = Random(f"settings {seed}")
    kinds = (drawn_tree, drawn_flat, drawn_short)
    return [kinds[number % 3](f"{seed} {number + 1}", rng) for number in range(count)]


def drawn_tree(name: str, rng: Random) -> Setting:
    """Directions that spawn directions."""
    low = rng.uniform(0.02, 0.4)
    tree = Tree(
        ratio=rng.choice((1.0, rng.uniform(0.6, 1.0))),
        drift=rng.uniform(0.0, 0.25),
        spread=rng.uniform(0.03, 0.3),
        visits=rng.choice((300, 600, 1_000)),
        roots_in=(low, low + rng.uniform(0.1, 0.5)),
        root_count=round(2.0 ** rng.uniform(1.0, 7.0)),
        litter=rng.choice((1, 2, 3, 5)),
        fertility=(rng.uniform(0.05, 0.2), rng.uniform(0.1, 0.4)),
        concentration=2.0 ** rng.uniform(1.0, 6.0),
        binary=rng.random() < 0.25,
    )
    return Setting(f"tree {name}", tree, rng.choice((4, 16, 64)), "reward")


def drawn_flat(name: str, rng: Random) -> Setting:
    """A fixed number of directions, which may deplete."""
    low = rng.uniform(0.0, 0.6)
    flat = Flat(
        arms=round(2.0 ** rng.uniform(2.0, 8.0)),
        graded=rng.random() < 0.6,
        visits=rng.choice((500, 1_500, 3_000)),
        drift=rng.choice((unchanged, unchanged, abrupt, gradual)),
        means=(low, rng.uniform(low + 0.2, 1.0)),
        concentration=2.0 ** rng.uniform(1.0, 6.0),
    )
    return Setting(f"flat {name}", flat, rng.choice((1, 8, 32)), "reward")


def drawn_short(name: str, rng: Random) -> Setting:
    """A plan's directions with guesses that may mislead, and few visits by many workers at once."""
    low = rng.uniform(0.0, 0.2)
    tree = Tree(
        ratio=rng.uniform(0.3, 0.9),
        drift=rng.uniform(0.0, 0.3),
        spread=rng.uniform(0.05, 0.3),
        visits=rng.choice((24, 32, 64)),
        roots_in=(low, low + rng.uniform(0.3, 0.7)),
        root_count=rng.randint(4, 20),
        litter=rng.choice((1, 2, 3)),
        fertility=(rng.uniform(0.1, 0.3), rng.uniform(0.2, 0.6)),
        concentration=2.0 ** rng.uniform(1.0, 5.0),
        guess=Guess(truth=rng.uniform(-0.8, 0.8)),
    )
    return Setting(f"short {name}", tree, rng.choice((8, 16, 32)), "reward")


def drawn_poor(name: str, rng: Random) -> Setting:
    """Directions that are worth much less than the findings that spawned them: few lines of descent pay."""
    low = rng.uniform(0.1, 0.3)
    tree = Tree(
        ratio=rng.choice((1.0, rng.uniform(0.85, 0.98))),
        drift=rng.uniform(0.1, 0.22),
        spread=rng.uniform(0.06, 0.16),
        visits=600,
        roots_in=(low, low + 0.2),
        root_count=rng.randint(3, 8),
    )
    return Setting(f"poor {name}", tree, rng.choice((4, 16, 64)), "reward")


def design() -> list[Setting]:
    """Drawn settings that were looked at while the default was made."""
    rng = Random("settings poor")
    shorts = [f"tuning shorts {number}" for number in range(80)]
    return [
        *drawn("design", 24),
        *drawn("tuning", 45),
        *(drawn_poor(f"{number}", rng) for number in range(1, 19)),
        *(drawn_short(name, Random(name)) for name in shorts),
    ]


def held_out() -> list[Setting]:
    """Drawn by the same rules under other seeds, before the default was last changed; no choice about a
    policy was made on them. The second draw adds short runs, in which policies differ most.
    """
    return [
        *drawn("unseen", 30),
        *(setting for setting in drawn("fresh", 30) if setting.name.startswith("short")),
    ]


SETS = {
    "gates": gates,
    "listed": listed,
    "compared": compared,
    "variants": variants,
    "known": known,
    "design": design,
    "held-out": held_out,
}
