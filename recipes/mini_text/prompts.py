"""The kinds of question, their phrasings, and the examples given to the teacher.

`{a}` is the subject with its article ("a violin", "water"), `{x}` the bare word. The first phrasing
of a kind is used for the teacher; the others are drawn when the corpus is built, so that one
generated answer is trained with every phrasing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["KINDS", "Kind", "with_article"]


@dataclass(frozen=True)
class Kind:
    """One kind of question.

    Attributes:
        name: short.
        pos: which parts of speech it is asked about.
        phrasings: the teacher's first.
        shots: (subject, answer) the teacher is shown.
        categories: only for concrete nouns of these; empty is all.
        adjectives: asked about with one of `ADJECTIVES` before the subject.
        lines: verse, several lines.
        vivid: only of nouns one can picture, and the most frequent of the others.
        weight: how often it is asked, relative to the others.
    """

    name: str
    pos: str
    phrasings: tuple[str, ...]
    shots: tuple[tuple[str, str], ...]
    categories: tuple[str, ...] = ()
    adjectives: bool = False
    lines: bool = False
    vivid: bool = False
    weight: float = 1.0


EVERYDAY = ("animal", "artifact", "food", "object", "person", "place", "plant")
THINGS = ("artifact", "food", "substance", "object", "body", "plant")

ADJECTIVES = {
    "": "old new big small little beautiful strange quiet lost hidden favorite broken perfect",
    "animal": "young tired hungry brave lonely happy wild gentle clever lazy white black sleepy",
    "person": "young tired hungry brave lonely happy kind poor rich wise shy honest angry sad",
    "food": "hot cold sweet fresh warm tasty simple cheap",
    "artifact": "red wooden heavy empty dusty expensive simple clean golden noisy useful",
    "object": "cold dark high silent blue lonely bright",
    "place": "lonely dark busy silent distant crowded peaceful green",
    "plant": "green dry tall wild red tiny",
}
"""Words put before a subject, for every category and for some."""

KINDS: tuple[Kind, ...] = (
    Kind(
        "what",
        "n",
        ("What is {a}?", "Define {x}.", "Tell me what {a} is.", "What do we call {x}?",
         "In one sentence, what is {a}?"),
        (
            ("violin", "A violin is a small wooden instrument with four strings that you play with a bow."),
            ("river", "A river is a long stream of water that flows across the land to the sea."),
            ("teacher", "A teacher is a person who helps others learn new things."),
            ("hope", "Hope is the feeling that something good is going to happen."),
        ),
        weight=1.3,
    ),
    Kind(
        "describe",
        "n",
        ("Describe {a} in one short sentence.", "Describe {a}.", "What does {a} look like?",
         "Describe {a} in a few words.", "How would you describe {a}?"),
        (
            ("lion", "The lion is large and strong, with golden fur and a thick mane."),
            ("library", "The library is quiet and warm, with tall shelves full of old books."),
            ("soup", "The soup is hot and salty, with soft pieces of carrot and potato."),
            ("storm", "The storm is dark and loud, with heavy rain and bright flashes in the sky."),
        ),
        vivid=True,
    ),
    Kind(
        "sentence",
        "n",
        ("Write a short sentence about {a}.", "Write a sentence about {a}.",
         "Say something about {a}.", "Write one sentence about {a}.", "Make a sentence about {a}."),
        (
            ("king", "The old king walked slowly through his empty garden."),
            ("train", "We took the early train and watched the sun rise over the fields."),
            ("letter", "She found a letter from her brother under the door."),
            ("dog", "The dog waited by the gate until the children came home."),
        ),
        vivid=True,
    ),
    Kind(
        "pair",
        "n",
        ("Write a short sentence about {a}.", "Write a sentence about {a}.",
         "Say something about {a}.", "Write one sentence about {a}.", "Make a sentence about {a}."),
        (
            ("lonely king", "The lonely king talked to his birds every evening."),
            ("old train", "The old train climbed the hill slowly and stopped at every village."),
            ("wet dog", "A wet dog ran into the kitchen and shook water all over the floor."),
            ("quiet room", "She sat in the quiet room and wrote a letter to her sister."),
        ),
        categories=EVERYDAY,
        adjectives=True,
        weight=1.6,
    ),
    Kind(
        "happy",
        "n",
        ("Write a happy sentence about {a}.", "Write a cheerful sentence about {a}.",
         "Say something nice about {a}.", "Write a joyful sentence about {a}."),
        (
            ("garden", "The garden is full of bright flowers, and the children love to play there."),
            ("letter", "A letter from her best friend made her smile all day."),
            ("winter", "Winter is wonderful when we drink hot chocolate and play in the fresh snow."),
            ("boat", "The little boat took us across the sunny lake, and we sang all the way."),
        ),
        vivid=True,
    ),
    Kind(
        "sad",
        "n",
        ("Write a sad sentence about {a}.", "Write a gloomy sentence about {a}.",
         "Say something sad about {a}.", "Write an unhappy sentence about {a}."),
        (
            ("house", "The old house stood empty and cold, and nobody came back to it."),
            ("bird", "The small bird broke its wing and could never fly again."),
            ("flower", "The flower died in the dry ground before anyone had seen it."),
            ("song", "They sang the old song one last time, and then he went away forever."),
        ),
        vivid=True,
    ),
    Kind(
        "use",
        "n",
        ("What do people use {a} for?", "What is {a} used for?", "What is {a} good for?",
         "How do people use {a}?", "Why would I need {a}?"),
        (
            ("hammer", "People use a hammer to drive nails into wood."),
            ("blanket", "A blanket keeps you warm when you sleep or sit outside."),
            ("salt", "Cooks use salt to give food more taste and to keep it fresh."),
            ("map", "You can use a map to find your way in a place you do not know."),
        ),
        categories=THINGS,
    ),
    Kind(
        "where",
        "n",
        ("Where can you find {a}?", "Where is {a} found?", "Where would I look for {a}?",
         "In what place can I see {a}?"),
        (
            ("whale", "You can find a whale in deep, cold parts of the ocean."),
            ("oven", "An oven is usually in the kitchen of a house or in a bakery."),
            ("nurse", "You can meet a nurse in a hospital or at a doctor's office."),
            ("sand", "Sand covers beaches, deserts and the bottom of the sea."),
        ),
        categories=("animal", "artifact", "body", "food", "object", "person", "plant", "substance"),
    ),
    Kind(
        "does",
        "n",
        ("What does {a} do?", "What does {a} usually do?", "Tell me what {a} does.",
         "How does {a} spend the day?"),
        (
            ("baker", "A baker gets up early and makes bread and cakes for other people."),
            ("cat", "A cat sleeps most of the day and hunts mice at night."),
            ("pilot", "A pilot flies planes and brings people safely from place to place."),
            ("spider", "A spider builds a web and waits for insects to get caught in it."),
        ),
        categories=("animal", "person"),
        weight=1.2,
    ),
    Kind(
        "why",
        "n",
        ("Why do people care about {a}?", "Why is {a} important?", "Why does {a} matter?",
         "Why do people think about {a}?"),
        (
            ("water", "Water is important because nothing can live without it."),
            ("music", "People love music because it makes them feel less alone."),
            ("money", "Money matters because people need it to buy food and a place to live."),
            ("tree", "Trees are important because they clean the air and give us shade."),
        ),
        vivid=True,
    ),
    Kind(
        "advice",
        "n",
        ("Give one short piece of advice about {a}.", "What is a good tip about {a}?",
         "Give me advice about {a}.", "What should I know about {a}?"),
        (
            ("knife", "When you use a knife, always cut away from your hand."),
            ("friend", "Listen to your friend before you try to solve the problem."),
            ("plant", "Give a plant enough light, and do not water it too much."),
            ("coat", "Buy a coat that is warm enough for the coldest day of the year."),
        ),
        vivid=True,
    ),
    Kind(
        "poem",
        "n",
        ("Write a short poem about {a}.", "Write a little verse about {a}.",
         "Write a poem about {a}.", "Write a rhyme about {a}."),
        (
            ("moon", "The moon is round and white and bright,\nIt shines on all the world at night."),
            ("cat", "My cat lies down upon the chair,\nAnd lets the sunshine warm her hair."),
            ("road", "The road goes up, the road goes down,\nIt leads me slowly out of town."),
            ("bread", "The bread is warm, the bread is sweet,\nCome in, sit down, and let us eat."),
            ("teacher", "The teacher reads to us each day,\nAnd when we learn it feels like play."),
        ),
        vivid=True,
        lines=True,
        weight=1.5,
    ),
    Kind(
        "simple",
        "n",
        ("Explain {x} in simple words.", "Explain {x} to a child.", "What is {x}, in simple words?",
         "Explain {x} in one easy sentence."),
        (
            ("gravity", "Gravity is what pulls things down to the ground."),
            ("bank", "A bank is a safe place where people keep their money."),
            ("fear", "Fear is what you feel when you think something bad may happen."),
            ("engine", "An engine is the part of a car that makes it move."),
        ),
    ),
    Kind(
        "word",
        "nva",
        ("Use the word \"{x}\" in a short sentence.", "Use {x} in a sentence.",
         "Write a sentence with the word {x}.", "Give me an example of the word {x}."),
        (
            ("borrow", "May I borrow your pen for a moment?"),
            ("narrow", "The street was so narrow that only one car could pass."),
            ("candle", "He lit a candle and read until midnight."),
            ("whisper", "They began to whisper when the teacher came in."),
        ),
        weight=0.7,
    ),
    Kind(
        "mean",
        "v",
        ("What does it mean to {x}?", "What does the word {x} mean?", "Explain what it means to {x}.",
         "Define {x}."),
        (
            ("borrow", "To borrow is to take something for a while and give it back later."),
            ("whisper", "To whisper is to speak so softly that only one person can hear you."),
            ("build", "To build is to put parts together until they make something new."),
            ("forgive", "To forgive is to stop being angry with someone who hurt you."),
        ),
    ),
    Kind(
        "how",
        "v",
        ("When do people {x}?", "Why do people {x}?", "Tell me when someone would {x}.",
         "When would you {x}?"),
        (
            ("laugh", "People laugh when they hear something funny or feel very happy."),
            ("wait", "People wait when a bus is late or a friend is not ready."),
            ("dig", "People dig when they plant a tree or look for something in the ground."),
            ("argue", "People argue when they do not agree and both want to be right."),
        ),
    ),
    Kind(
        "meaning",
        "a",
        ("What does \"{x}\" mean?", "What does the word {x} mean?", "Explain the word {x}.",
         "Define {x}."),
        (
            ("narrow", "Something narrow is not wide, so there is little room from side to side."),
            ("brave", "A brave person does what is right even when it is frightening."),
            ("wet", "Something wet is covered with water or full of it."),
            ("famous", "A famous person is known by very many people."),
        ),
    ),
    Kind(
        "example",
        "a",
        ("Name something that is {x}, and say why.", "What is something {x}?",
         "Give an example of something {x}.", "What can be {x}?"),
        (
            ("soft", "A pillow is soft because it is filled with feathers."),
            ("dangerous", "A frozen lake is dangerous because the ice can break."),
            ("bright", "The sun at noon is so bright that you cannot look at it."),
            ("slow", "A snail is slow because it moves on its belly."),
        ),
        weight=0.4,
    ),
    Kind(
        "about",
        "a",
        ("Write a short sentence about something {x}.", "Write a sentence about a {x} person or thing.",
         "Say something about {x} things.", "Make a sentence with something {x}."),
        (
            ("lonely", "The lonely king talked to his birds every evening."),
            ("golden", "A golden leaf fell into the quiet pond."),
            ("hungry", "The hungry boy looked through the window of the bakery."),
            ("ancient", "An ancient bridge crosses the river near our village."),
        ),
        weight=0.4,
    ),
)  # fmt: skip

_MASS = {"substance", "food", "phenomenon"}
_COUNT_FOODS = set(
    re.findall(
        r"\S+",
        "apple orange banana potato tomato carrot onion egg sandwich cake cookie pie pizza meal"
        " lunch dinner breakfast loaf lemon grape berry nut peach pear plum melon cherry bean pea"
        " vegetable fruit feast snack dessert pudding sausage steak roll bun biscuit cracker drink"
        " beverage cocktail dish recipe supper picnic",
    )
)
_COUNT = set(
    re.findall(
        r"\S+",
        "storm rainbow cloud flame spark shadow wave drug medicine tide breeze fire current drop"
        " stone crystal liquid gas metal material chemical element acid poison fuel solid",
    )
)


def with_article(word: str, category: str) -> str:
    """ "a violin", "an oven", "water": as the word is asked about.

    Abstract nouns and plurals have none: "hope", "shoes".
    """
    mass = category in _MASS and word.split()[-1] not in _COUNT_FOODS | _COUNT
    plural = word.endswith("s") and not word.endswith(("ss", "us", "is", "as", "os"))
    if not category or (category == "place" and plural) or mass or plural:
        return word
    return (
        "an " if word[0] in "aeiou" and not word.startswith(("uni", "use", "eu")) else "a "
    ) + word
