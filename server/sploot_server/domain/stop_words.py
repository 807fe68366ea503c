"""Words of a query that carry no meaning: the most common ones of English, German, Spanish and French."""

STOP_WORDS = frozenset(
    word
    for line in (
        "a an and are as at be but by do for from had has have he her his how i if in into is it its just like me meme",
        "my no not of on or our she so that the their them then there they this to too up was we were what when where",
        "which who why will with you your",
        "der die das und ein eine ist ich nicht el la los las un una y es de en que le les et une est je pas",
    )
    for word in line.split()
)
