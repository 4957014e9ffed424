"""Food-101: 101,000 photos of dishes, 101 classes, 25,250 of them the test set."""

from whypretrain.data import torchvision_sets as sets

PACKAGES = sets.PACKAGES

SOURCE = (
    "Food-101 (L. Bossard, M. Guillaumin, L. Van Gool, 2014, "
    "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/); its training images hold some wrong labels, on "
    "purpose"
)
LICENCE = (
    "The photos come from foodspotting.com and don't belong to the data set's authors; any use beyond scientific "
    "fair use is to be negotiated with those who took them"
)

CLASSES = sets.names("""
    apple_pie, baby_back_ribs, baklava, beef_carpaccio, beef_tartare, beet_salad, beignets, bibimbap, bread_pudding,
    breakfast_burrito, bruschetta, caesar_salad, cannoli, caprese_salad, carrot_cake, ceviche, cheese_plate,
    cheesecake, chicken_curry, chicken_quesadilla, chicken_wings, chocolate_cake, chocolate_mousse, churros,
    clam_chowder, club_sandwich, crab_cakes, creme_brulee, croque_madame, cup_cakes, deviled_eggs, donuts, dumplings,
    edamame, eggs_benedict, escargots, falafel, filet_mignon, fish_and_chips, foie_gras, french_fries,
    french_onion_soup, french_toast, fried_calamari, fried_rice, frozen_yogurt, garlic_bread, gnocchi, greek_salad,
    grilled_cheese_sandwich, grilled_salmon, guacamole, gyoza, hamburger, hot_and_sour_soup, hot_dog, huevos_rancheros,
    hummus, ice_cream, lasagna, lobster_bisque, lobster_roll_sandwich, macaroni_and_cheese, macarons, miso_soup,
    mussels, nachos, omelette, onion_rings, oysters, pad_thai, paella, pancakes, panna_cotta, peking_duck, pho, pizza,
    pork_chop, poutine, prime_rib, pulled_pork_sandwich, ramen, ravioli, red_velvet_cake, risotto, samosa, sashimi,
    scallops, seaweed_salad, shrimp_and_grits, spaghetti_bolognese, spaghetti_carbonara, spring_rolls, steak,
    strawberry_shortcake, sushi, tacos, takoyaki, tiramisu, tuna_tartare, waffles
""")


class Parameters(sets.LocalCopy):
    """Where the local copy is."""

    root: sets.Root = "data/food101"


SET = sets.Published(
    name="Food101",
    classes=CLASSES,
    images={"train": 750, "test": 250},
    splits=sets.BY_SPLIT,
    address="http://data.vision.ee.ethz.ch/cvl/",
    files={"food-101.tar.gz": "85eeb15f3717b99a5da872d97d918f87"},
)
class_counts, parts, channels, prepare = SET.class_counts, SET.parts, SET.channels, SET.prepare
