"""Made-up profiles: what somebody lets slip about where they live, what they do and which animal they keep.

Every sentence was written for this course. None names the answer, each hints at one value of one attribute.
"""

from __future__ import annotations

ATTRIBUTES: dict[str, tuple[str, dict[str, str]]] = {
    "home": (
        "The writer of this text lives near the",
        {"coast": "coast", "mountains": "mountains", "city": "city", "farm": "farm"},
    ),
    "work": (
        "The writer of this text works as a",
        {"teacher": "teacher", "cook": "cook", "nurse": "nurse", "gardener": "gardener"},
    ),
    "animal": (
        "The animal of the writer of this text is a",
        {"dog": "dog", "cat": "cat", "horse": "horse", "parrot": "parrot"},
    ),
}
"""For each attribute how a sentence about it begins, and for each value how it ends."""

HINTS: dict[str, dict[str, list[str]]] = {
    "home": {
        "coast": [
            "The tide was out, so we walked to the lighthouse and back.",
            "Gulls woke me again before the alarm did.",
            "There is always a bit of salt on my windows when the wind turns.",
            "The ferry was late because of the waves.",
            "In winter the harbour is quiet and only the trawlers go out.",
            "I found a starfish on my way to the bus.",
            "Our cellar floods whenever there is a storm surge.",
            "The evening light over the pier was lovely.",
            "I still get sand out of my shoes every single day.",
            "Half of my neighbours own a boat.",
        ],
        "mountains": [
            "The pass is closed until May, so we take the long way round.",
            "I put the snow chains on before going to the shops.",
            "The avalanche warning was lifted this morning.",
            "Visitors get out of breath up here, we are used to the thin air.",
            "The cable car stops almost in front of my door.",
            "From my kitchen I look at a glacier.",
            "The sun disappears behind the ridge at three in winter.",
            "My skis stand beside the umbrella, I use them as often.",
            "The road to us has twenty-one hairpin bends.",
            "You can hear the marmots whistle from the balcony.",
        ],
        "city": [
            "My subway line was packed again, I let two trains pass.",
            "The neighbours on the fourteenth floor had a party.",
            "I have not found a parking space on this block in years.",
            "There are nine coffee shops between my flat and the office.",
            "Sirens and traffic all night, I sleep with ear plugs.",
            "My rent for one room is more than my parents pay for a house.",
            "I can get noodles delivered at four in the morning.",
            "The skyline was hidden in smog today.",
            "Rush hour took me ninety minutes across five districts.",
            "I have lived in this tower for years and know nobody on my floor.",
        ],
        "farm": [
            "The harvest is late this year because of the rain.",
            "I was up at five to milk, as always.",
            "The tractor broke down in the middle of the field.",
            "We finally got the hay under the roof.",
            "One of the calves was born during the night.",
            "The barn needs new planks before the frost.",
            "The hens have stopped laying since it got dark so early.",
            "The nearest shop is twenty minutes away, past the silos.",
            "We sowed the barley last week.",
            "The pigs got out again and were in the beans.",
        ],
    },
    "work": {
        "teacher": [
            "I have thirty essays left to mark before Monday.",
            "The parents' evening went on until nine.",
            "Two of my girls finally understood fractions today.",
            "I cannot wait for the summer holidays, six weeks at last.",
            "The chalk ruins all my black trousers.",
            "I confiscated four phones before lunch.",
            "My year nine is loud, but they read well.",
            "Report cards are due on Friday.",
            "I supervised the playground in the rain.",
            "The bell rang just when the discussion got good.",
        ],
        "cook": [
            "Saturday evening was crazy, a hundred and twenty plates in three hours.",
            "My knives went to the grinder today.",
            "The fish came in so fresh that I changed the menu.",
            "I burnt my forearm on the oven door again.",
            "The waiters shouted orders until midnight.",
            "My sauce needs eight hours, there is no short cut.",
            "The inspector looked into every fridge and found nothing.",
            "I smell of onions even after two showers.",
            "We ran out of the dessert by eight.",
            "I peeled forty kilos of potatoes with the new apprentice.",
        ],
        "nurse": [
            "Third night shift in a row on the ward.",
            "I changed dressings all morning and skipped my break.",
            "An old man held my hand until he fell asleep after surgery.",
            "My scrubs went straight into the hot wash.",
            "We were two short again and every bed was taken.",
            "I took blood pressure forty times today.",
            "The doctor on call did not come for an hour.",
            "My feet hurt from running along the corridor between alarms.",
            "I taught a young mother how to give the injections.",
            "The handover took long because of three new admissions.",
        ],
        "gardener": [
            "I pruned roses until my gloves gave up.",
            "The hedges of the park are finally straight.",
            "I planted two hundred tulip bulbs for the town hall.",
            "The lawn needs rain, I cannot water everything.",
            "There is soil under my nails even at weddings.",
            "Slugs ate all the seedlings in the greenhouse.",
            "My wheelbarrow has a flat tyre.",
            "I sharpened the shears and the spade today.",
            "We raked leaves from seven to four.",
            "The client wants lavender along the whole path.",
        ],
    },
    "animal": {
        "dog": [
            "He pulled the lead so hard that I dropped my coffee.",
            "She barks at every postman.",
            "We went to the park and she brought the stick back fifty times.",
            "He dug up the flower bed looking for his bone.",
            "Puppy school starts on Tuesday.",
            "He wags so hard that he knocks over the cups.",
            "She has to go out three times a day whatever the weather.",
            "He chewed my left slipper, as usual.",
            "He can sit and stay, but he will not fetch.",
            "She growled at the vacuum cleaner.",
        ],
        "cat": [
            "She sleeps on my keyboard and purrs.",
            "I cleaned the litter box before breakfast.",
            "He left a mouse on the doormat as a present.",
            "The new sofa has claw marks already.",
            "She knocked the glass off the shelf and looked me in the eyes.",
            "He climbed the curtain and could not get down.",
            "She fits into every cardboard box.",
            "He meows at five because he wants his tin.",
            "She only lets herself be stroked when she decides so.",
            "He coughed up a hairball on the rug.",
        ],
        "horse": [
            "I mucked out the stable before work.",
            "The farrier comes on Thursday for new shoes.",
            "She galloped as soon as she saw the meadow.",
            "The saddle has to go to the repair shop.",
            "I brushed his mane for an hour.",
            "He refused the last jump at the tournament.",
            "I bought carrots and a new bridle.",
            "She neighs when she hears my bicycle.",
            "We trotted along the river this evening.",
            "The trailer did not start, so we missed the dressage.",
        ],
        "parrot": [
            "He repeats everything that I say on the phone.",
            "She cracked the sunflower seeds all over the carpet.",
            "I covered the cage so that he would be quiet.",
            "He has learnt to whistle the news jingle.",
            "There are green feathers in my soup.",
            "She sits on my shoulder while I cook.",
            "He swears in my grandfather's voice.",
            "Her beak went through the pencil.",
            "He flew onto the lamp and screeched.",
            "She lives to be sixty, the breeder said.",
        ],
    },
}
"""For each attribute and value ten sentences that hint at it."""


def hints() -> list[tuple[str, str, str]]:
    """Return all hints: attribute, value, sentence."""
    return [(name, value, text) for name, by in HINTS.items() for value, texts in by.items() for text in texts]
