"""What a small model should have read besides stories: messages, sums, word games.

Three endless iterators of short plain texts, drawn from a `random.Random`: the same
seed gives the same texts. What they say stands in tables, `name: this / that / ...`,
with slots in braces; the code only fills them.
"""

import re


def messages(rng):
    """Short phone messages: friends, families, shops, clubs, and some to distrust."""
    while True:
        text = fill(rng, "{message}", MESSAGES)
        if rng.random() < 0.15:
            text = re.sub(r"\w+", lambda word: SHORT.get(word[0], word[0]), text)
        if rng.random() < 0.15:
            text = text.lower()
        if 20 <= len(text) <= 500:
            yield text


def sums(rng):
    """A few lines of arithmetic with whole numbers below 100, all of them right."""
    return pages(rng, SUMS)


def word_games(rng):
    """A few lines of facts about words: opposites, plurals, rhymes, order, capitals."""
    return pages(rng, WORD_GAMES)


def pages(rng, table):
    """Endless texts of some lines, no two alike, of one to three kinds of the table."""
    while True:
        kinds = rng.sample(list(table), rng.randrange(1, 4))
        drawn = [rng.choice(kinds) for _ in range(rng.randrange(3, 11))]
        lines = [fill(rng, rng.choice(table[k]), FACTS[k](rng)) for k in drawn]
        text = "\n".join(dict.fromkeys(lines))
        if 20 <= len(text) <= 500:
            yield text


def fill(rng, text, words):
    """The text with its slots filled, and capitals where sentences start.

    A slot is {3-9}, a number; {a|b}, either; {name}, one of the choices in words[name],
    itself filled; or {0}, the fact words[0].
    """

    def choose(slot):
        low, *high = slot[1].split("-")
        if "|" in slot[1]:
            return rng.choice(slot[1].split("|"))
        if high:
            return str(rng.randrange(int(low), int(high[0]) + 1))
        if low.isdigit():
            return str(words[int(low)])
        return re.sub(SLOT, choose, rng.choice(words[low]))

    text = re.sub(SLOT, choose, text)
    return re.sub(r"(?:^|[.!?] )[a-z]", lambda start: start[0].upper(), text)


def choices(text):
    """name -> its choices, from entries `name: this / that`, further lines indented."""
    entries = re.split(r"\n(?=\w)", text.strip())
    named = (" ".join(entry.split()).split(": ", 1) for entry in entries)
    return {name: values.split(" / ") for name, values in named}


def pairs(text):
    """(left, right) of each word `left/right`."""
    return [tuple(word.split("/")) for word in text.split()]


SLOT = re.compile(r"\{(.*?)\}")

# --------------------------------------------------------------------------- messages

MESSAGES = choices("""
message: {friendly} / {friendly} / {hello} {friendly} / {hello} {friendly} {bye} /
  {friendly} {bye} / {friendly} {friendly} / {hello} {friendly} {friendly} / {hello}
  {friendly} {friendly} {bye} / {hello} {friendly} {friendly} {friendly} {bye} /
  {official} / {official} / {official} / {doubtful} / {doubtful}
hello: Hi {name}! / Hello {name}. / Hey! / Hey {name}! / Morning {name}! / {name}? / Ok.
  / Dear {name}. / Good evening! / Hiya! / Sorry {name}. / Oh no. / Haha. / Yes! / No
  worries. / Thanks for your {message|call|card|photo}.
bye: {name} x / See you {soon|later|there}. / See you {day}. / Love, {name} / Take care!
  / Bye for now. / Cheers, {name} / Talk later? / xx / Thanks! / :) / Hugs to {kin}. /
  Let me know. / Text me when you {get home|can|are free}. / Sleep well. / Good luck! /
  Miss you.
friendly: {plan} / {plan} / {late} / {errand} / {thanks} / {news} / {joke} / {care} /
  {club} / {ask}
plan: Are you free {when}? {kin} and I are going to {place}. / Shall we meet at {place}
  {when}? / Dinner at {place} {when}, are you coming? / Can we move {event} to {when}? /
  I booked {place} for {2-8} people, {when}. / {event} starts at {time}, bring {thing}.
  / Cannot make it {when}, how about {when}? / Want to watch {show} {when}? / Meet me
  outside {place} at {time} and do not forget {thing}. / {event} is on {day}. Wear
  something {warm|smart|old|silly}.
late: Running {5-45} minutes late, {excuse}. / {excuse}, so start without me. / On my
  way, be there by {time}. / Just left {place}, home around {time}. / Still at {place}.
  {excuse}. Will be {5-45} min. / Stuck on the bus near {place}. / My train is delayed
  until {time}, can you collect {kin} from {place}?
excuse: there was a power cut / my bike has a flat tyre / the queue is endless / the
  alarm did not ring / the traffic is awful / I missed the {bus|train|ferry|tram} / the
  car would not start / the meeting ran over / I overslept / {kin} lost the keys / the
  bridge is shut / my phone battery died / it is pouring with rain / I took the wrong
  exit
errand: Could you buy {thing} and {thing} on the way home? / We are out of {thing}. /
  Please pick up {kin} from {place} at {time}. / Did you feed the {pet}? It ate {thing}.
  / I left {thing} at {place}, can you grab it? / Get {2-6} of the {size} ones, and
  {thing}. / Remember to {chore} before {time}. / Your turn to {chore}. I did it {day}.
  / The {machine} is broken again, the repair man comes {when}.
thanks: Thank you so much for {thing}, what a surprise for {kin}! / Thanks for {event},
  we had a {good} time. / That was so kind of you. I owe you {thing}. / You are a star!
  {event} was {good}. / Thanks from {kin} for {thing}. / Congratulations on {luck}!
news: The exam results are out and {kin} passed! / We are moving to {country} in the
  spring! / I found a flat near {place}, rent is {price} a week. / They cancelled
  {event} because of the storm. / Guess what, {kin} got {luck}! / We are at {place}, the
  view is {good}. / {luck}? That is {good} news! / It is snowing at {place}! / My {exam}
  went {good|badly|okay}. / I am reading a {good} book about {topic}. / The {pet} had
  {2-6} babies last night! / Arrived safely, the flight was {good|bumpy|long}. / I
  finally finished the {exam}.
joke: Why did the {pet} cross the road? To get {thing}. / {kin} put {thing} in the
  {machine} by mistake. Still laughing. / I tried to {chore} and now the {pet} is
  hiding. / My {pet} has better manners than {kin}. / You know you are old when you get
  excited about {thing}. / What do you call a {pet} at {place}? Late, as usual.
care: How are you feeling today? I can bring {thing}. / Hope your {ache} is better.
  Drink plenty of water and rest. / Happy birthday, {name}! Hope you get {thing}. / Do
  not worry about the {exam}, you will do fine. / The doctor says it is only a {ache}. /
  So sorry to hear about your {ache}. Call me any time. / Did you sleep ok? My {ache}
  kept me up till {time}.
club: Training moves to {place} {when}, tell the others. / We won {1-9} to 0! Next match
  {when}. / Choir practice {when}, please learn page {2-60}. / We still need {2-9}
  players for {day}. / {event}: can you bake something? We have {2-12} cakes so far. /
  The coach wants everyone at {place} by {time}. / Subs of {price} are due {day}.
ask: Should I invite {kin} to {event}? / Can you recommend a plumber? The {machine} is
  leaking. / Who is driving {day}? I have space for {2-5}. / Do you have {name}'s new
  number? / What is the wifi password at {place}? / Which platform does the {time} train
  leave from? / Is {place} open on {day}? / Can I borrow {thing} until {day}? / How much
  was {thing}? I think I paid {price}. / Do you prefer {topic} or {topic}? / Did {kin}
  tell you about {event}? / Where did you put {thing}?
official: Your subscription renews on {day} for {price}. Manage it in your account. /
  {shop}: how did we do? Rate us from 1 to 10. / Flight {A|B|K}{100-999} now boards at
  gate {2-60}. / Your taxi is outside, a {green|silver|black} car, driver {name}. /
  School is closed {when} because of snow. / Your prescription is ready at {shop}. /
  {shop}: your {parcel} will arrive {when} between {1-6} and {7-11}. / {shop}: sorry we
  missed you. Your {parcel} is with a neighbour at number {2-98}. / Reminder: your
  appointment with {doctor} is on {day} at {time}. Reply {YES|C|1} to confirm. / {shop}:
  your order {1000-9999} is ready to collect, bring some ID. / {shop} sale: {10-70}% off
  all {goods} until {day}. / Your table for {2-8} at {place} is booked, {when}. Call
  {phone} to change it. / Dear parents, {event} is on {day}. Please send {thing} and
  {price}. / Road works near {place} from {day}, expect delays. / {shop}: thank you for
  your visit. We refunded {price} to your card. / The library: "{show}" is due back on
  {day}. / Water will be off {when} for repairs. / Your {doctor} has a free slot {when},
  ring {phone}. / {shop}: new {goods} just in, from {price}. Open {8-10} to {5-8} every
  day. / Your code is {100000-999999}. Do not share it with anyone. / {bank}: you spent
  {price} at {shop} on {day}. / Your bill of {price} is ready. Payment is taken on
  {day}.
doubtful: {shout} You have been {chosen} to receive {prize}! {act} {urgent} / {shout}
  Claim {prize} now, {act} / {bank}: unusual activity on your account. {act} {urgent} /
  FREE for our loyal customers: {prize}! {act} / You are our {1-9}00th visitor and
  {prize} is yours! {act} Terms apply. / Your {parcel} is held, a fee of {price} is
  unpaid. {act} / {bank} will close your account. {urgent} {act} / Last chance to get
  {prize}. {urgent} {act} / Earn {price} a day from home, no experience! {act} / {shop}
  offer: half price {goods} and {prize}. {act} To stop texts send STOP.
shout: WINNER! / URGENT! / Congratulations! / Final notice: / Great news! / ATTENTION: /
  Dear customer, / Hi there, lucky {name}! / PRIVATE! / {shop} prize draw:
chosen: chosen / selected / picked at random / invited / approved
prize: a {100-900} pound voucher / a brand new phone / {1-9},000 dollars in cash / a
  holiday for two in {country} / a free ringtone / tickets to {event} / a mystery gift /
  {20-90} free minutes / a weekend at a luxury hotel / a bonus of {price}
act: Call {phone} now. / Text {WIN|CASH|CLAIM|YES|GO} to {10000-99999}. / Reply with
  your name and address. / Visit our page and enter code {A|B|K|X}{100-999}. / Confirm
  your PIN today. / Click the link to verify your details. / Ring {phone}, {10-90}p per
  min.
urgent: Offer ends {day}! / You have {12-48} hours. / Only {2-9} left! / Act fast. /
  Reply today. / Valid until {time} only. / Do not miss out!
when: tonight / tomorrow / tomorrow at {time} / {day} / {day} at {time} / at {time} /
  this afternoon / next week / next {weekday} / after {work|school|lunch|supper}
day: {weekday} / {weekday} / {weekday} / the {4-20}th
weekday: Monday / Tuesday / Wednesday / Thursday / Friday / Saturday / Sunday
time: {1-12} / {1-12}{am|pm} / {1-12}.{1-5}0 / {1-12}:{0-5}5 / half past {1-12} / noon /
  {6-11} o'clock / quarter to {1-12} / midnight
price: {2-90} pounds / {1-40}.{1-9}9 pounds / ${2-99} / ${1-40}.{1-9}5 / {20-95}p
phone: 01632 960{100-999} / 07700 900{100-999} / 08081 570{100-999} / 555-01{10-99}
name: Priya / Tom / Aisha / Marek / Chloe / Ben / Yuki / Omar / Grace / Leo / Nina / Sam
  / Fatima / Jack / Rosa / Kofi / Ella / Dev / Hannah / Luca / Mei / Owen / Zara / Pete
kin: Mum / Dad / Grandma / Grandpa / Auntie {name} / Uncle {name} / my sister / my
  brother / the baby / the kids / my cousin / {name} / {name} / the twins / our
  neighbour
place: the station / the cinema / Grandma's / the gym / the library / the pool / school
  / the office / the harbour cafe / the noodle bar / the market / the dentist / the park
  / the airport / the pizza place / the church hall / the museum / {name}'s flat / town
  / the bakery / the stadium / platform {1-9} / the garage / the hospital / the campsite
event: the party / the wedding / the school play / quiz night / the picnic / the concert
  / football practice / book club / the barbecue / the meeting / sports day / the
  reunion / the fair / the charity run / my interview / the film / the dance lesson /
  parents day
thing: milk / a loaf of bread / the tickets / some batteries / an umbrella / your laptop
  / toothpaste / a charger / the blue folder / rice / tea bags / two lemons / the
  sleeping bag / washing powder / chicken soup / a birthday card / the spare key /
  flowers / chips / a cheese sandwich / a scarf / chocolate / the guitar / swimming
  goggles / dog biscuits / a screwdriver / my passport / a box of eggs / sun cream /
  onions / football boots / the drill / earplugs / cat litter / your jacket / honey /
  bandages / noodles / the ladder / lightbulbs / a raincoat / mushrooms / nappies / the
  tent / cereal / wrapping paper / vegetable curry / sunglasses
pet: cat / dog / hamster / parrot / goldfish / rabbit / tortoise / pony / chicken
chore: walk the dog / water the plants / lock the door / empty the bins / call the bank
  / iron your shirt / do the dishes / pay the rent / charge your phone / tidy your room
  / post the letter / book the tickets / mow the lawn / hoover the stairs / defrost the
  freezer / wrap the presents / return the parcel / renew your passport / clean the
  windows / feed the fish / print the form
machine: oven / boiler / printer / washing machine / fridge / kettle / toaster / lift
size: small / large / green / cheap / round / frozen / fresh / spicy
good: lovely / great / brilliant / wonderful / fantastic / splendid / fun / perfect
luck: the new job / into college / the lead part / a scholarship / engaged / full marks
  / promoted / the driving licence / the keys to the flat / a medal
exam: maths test / essay / driving test / history project / presentation / job interview
ache: cold / headache / sore throat / cough / bad back / twisted ankle / fever /
  toothache / sunburn / stomach ache / broken wrist
country: Spain / Norway / Italy / Greece / Egypt / Wales / Portugal
topic: {country} / whales / cooking / trains / chess / space / jazz / robots / gardening
  / knitting / dinosaurs / photography / politics / swimming / pirates / volcanoes /
  cricket
show: The Last Lighthouse / Mountain Rescue / Cook Along / Robot Summer / The Fox
  Mystery / Ninety Minutes / A Quiet Planet / Dance Academy / The Long Voyage
shop: Parcel Point / Bramble Books / Green Basket / City Bikes / Sparks Electrical /
  Happy Feet Shoes / Northside Garage / QuickShip / The Corner Pharmacy / Mobile World /
  Luna Salon / Fresh and Fast / Pet Palace / Home Barn
bank: Harvest Bank / Your bank / Bluebird Savings / Card services / The tax office
parcel: parcel / delivery / package / order / letter / sofa / grocery order
doctor: Dr. Patel / Dr. Novak / the dentist / the optician / nurse Kelly / the vet
goods: shoes / laptops / coats / garden tools / headphones / toys / sofas / phones /
  bikes / kitchenware / books / watches / skincare / mattresses / trainers / jeans /
  mobiles / carpets / perfume / tablets / curtains / glasses / pushchairs / lamps
""")
SHORT = dict(
    pairs("""
    you/u are/r to/2 for/4 please/pls tomorrow/tmrw tonight/2nite great/gr8 thanks/thx
    because/cos see/c your/ur later/l8r and/n be/b text/txt Please/Pls Thanks/Thx
    about/abt before/b4 at/@ want/wnt Are/R Your/Ur You/U love/luv minutes/mins
    """)
)

# ------------------------------------------------------------------------------- sums

SUMS = choices("""
plus: {0} + {1} = {2} / {0} + {1} = {2} / {0} and {1} make {2}. / {0} plus {1} is {2}. /
  The sum of {0} and {1} is {2}. / {1} more than {0} is {2}.
minus: {2} - {1} = {0} / {2} - {1} = {0} / {2} minus {1} {is|leaves} {0}. / {2} take
  away {1} leaves {0}. / {1} less than {2} is {0}. / From {1} to {2} it is {0}.
times: {0} x {1} = {2} / {0} x {1} = {2} / {0} times {1} {is|makes} {2}.
double: Twice {0} is {1}. / Half of {1} is {0}. / Double {0} and you have {1}. / {1} is
  two times {0}. / {0} + {0} = {1} / {1} is even, {2} is odd.
chain: {0}
tens: What is {0} + {3}? {0} + {1} = {4}, {4} + {2} = {5}. It is {5}. / {0} + {3}: first
  {0} + {1} = {4}, then {4} + {2} = {5}.
compare: {2} is {more|greater} than {0}. / {0} is {less|smaller} than {1}. / Is {2} more
  than {1}? Yes. / Is {0} more than {1}? No. / The largest of {1}, {2} and {0} is {2}. /
  The smallest of {2}, {0} and {1} is {0}. / In order: {0}, {1}, {2}. / {1} is between
  {0} and {2}.
count: Count up: {0}. / {0}, and so on. / Count down: {1}. / {2} comes before {3}. /
  After {2} comes {3}.
story: {0}
boxes: {3} fills {0} {4} with {1} {5} each. That is {0} x {1} = {2} {5}. / {0} {4} hold
  {1} {5} each, so {3} has {2} {5}. / {3} shares {2} {5} between {0} {4}: {1} in each.
""")
SCENE = choices("""
person: Tom he / Ann she / Ben he / Mia she / Sam he / Lily she / Max he / Nora she /
  Omar he / Priya she / Jack he / Rosa she / Leo he / Anna she / Kofi he / Mei she
thing: apples / pears / eggs / coins / shells / books / stamps / marbles / cards / balls
  / cakes / stones / pencils / buttons / sweets / flowers / nuts / stickers / beads /
  toys / plums / biscuits / feathers / keys
holder: boxes / bags / baskets / jars / tins
gain: gets / finds / buys / wins
loss: loses / sells / drops / hides
""")


def amount(rng):
    """A number from 0 to 49, small ones more often."""
    return rng.randrange(rng.choice([10, 10, 20, 50]))


def added(rng):
    a, b = amount(rng), amount(rng)
    return a, b, a + b


def multiplied(rng):
    a, b = rng.randrange(2, 10), rng.randrange(2, 10)
    return a, b, a * b


def doubled(rng):
    a = amount(rng)
    return a, 2 * a, 2 * a + 1


def changed(rng, total):
    """(the sum as a text, what comes out, whether that is more) of a small change."""
    change = rng.randrange(2, 11)
    if total < change + 2 or rng.random() < 0.55:
        return f"{total} + {change} = {total + change}", total + change, True
    return f"{total} - {change} = {total - change}", total - change, False


def chained(rng):
    """A sum in steps, each of which starts from what came out before."""
    total, steps = amount(rng), []
    for _ in range(rng.randrange(2, 5)):
        step, total, _ = changed(rng, total)
        steps.append(step)
    return [", ".join(steps)]


def by_tens(rng):
    a, tens, ones = 10 + amount(rng), 10 * rng.randrange(1, 4), rng.randrange(1, 10)
    return a, tens, ones, tens + ones, a + tens, a + tens + ones


def counted(rng):
    start, step = rng.randrange(50), rng.choice([1, 1, 1, 2, 3, 5, 10])
    row = [str(start + step * i) for i in range(rng.randrange(3, 6))]
    return ", ".join(row), ", ".join(reversed(row)), start, start + 1


def happened(rng):
    """Someone gains or loses things, once or twice, with the sums written or not."""
    name, pronoun = rng.choice(SCENE["person"]).split()
    thing, total, written = rng.choice(SCENE["thing"]), 2 + amount(rng), rng.random()
    text = f"{name} has {total} {thing}"
    for link in [" and", f". Then {pronoun}"][: rng.randrange(1, 3)]:
        step, total, gains = changed(rng, total)
        verb, change = rng.choice(SCENE["gain" if gains else "loss"]), step.split()[2]
        text += f"{link} {verb} {change}" + " more" * gains
        text += f": {step}" * (written < 0.4)
    return [f"{text}. Now {pronoun} has {total} {thing}."]


def packed(rng):
    name = rng.choice(SCENE["person"]).split()[0]
    return (
        *multiplied(rng),
        name,
        rng.choice(SCENE["holder"]),
        rng.choice(SCENE["thing"]),
    )


# ------------------------------------------------------------------------- word games

WORD_GAMES = choices("""
opposite: The opposite of {0} is {1}. / {0} is the opposite of {1}. / Not {0} but {1}. /
  The words {0} and {1} are opposites. / If it is not {0}, it may be {1}.
plural: One {0}, two {1}. / The plural of {0} is {1}. / "{1}" is the plural of "{0}". /
  One {0} and one {0} are two {1}. / There was one {0}, now there are many {1}.
past: Today I {0}, yesterday I {1}. / The past of {0} is {1}. / They {0} now, as they
  {1} before. / "{1}" is the past of "{0}".
colour: {1} is {0}. / What colour is {1}? {0}. / Is {1} {0}? Yes. / {1} and {2} are {0}.
  / Is {1} {3}? No, {0}. / Think of {1}, and think of {0}.
category: {0} is {3}. / {0}, {1} and {2} belong together: each is {3}. / Is {0} {3}?
  Yes. / Is {0} {4}? No, it is {3}. / What is {0}? It is {3}.
rhyme: {0} rhymes with {1}. / The words {0} and {1} rhyme. / A rhyme for {0}: {1}. / {0}
  sounds like {1}, but not like {2}.
capitals: "{0}" in capitals is "{1}". / {1} is {0} in small letters. / He wrote {0}, she
  wrote {1}, in capitals. / First {0}, then louder: {1}!
order: The first word of "{0}" is "{3}". / The last word of "{0}" is "{5}". / The middle
  word of "{0}" is "{4}". / "{0}" backwards is "{1}". / Turn "{0}" around and it is
  "{1}". / In the order of the alphabet: {2}. / The words {3}, {4}, {5} in order: {2}.
spelling: "{0}" has {1} words. / There are {2} words in "{0}". / {1} words: "{0}" / How
  many words are in "{0}"? {1}. / The word {3} has {4} letters. / The word {3} begins
  with {5} and ends with {6}. / The word {3} is spelled {7}.
""")
OPPOSITES = pairs("""
hot/cold big/small tall/short up/down open/closed wet/dry fast/slow happy/sad day/night
old/young good/bad hard/soft full/empty early/late high/low heavy/light dark/bright
loud/quiet rich/poor clean/dirty strong/weak near/far inside/outside first/last
left/right true/false thick/thin wide/narrow deep/shallow sweet/sour smooth/rough
sharp/blunt begin/end push/pull give/take buy/sell love/hate win/lose find/miss
laugh/cry ask/answer remember/forget arrive/leave above/below before/after yes/no
always/never more/less many/few everything/nothing north/south east/west summer/winter
morning/evening friend/enemy brave/afraid polite/rude safe/dangerous easy/difficult
cheap/expensive asleep/awake same/different front/back top/bottom alive/dead tight/loose
kind/cruel lucky/unlucky simple/complicated raw/cooked public/private start/finish
""")
PLURALS = pairs("""
mouse/mice foot/feet tooth/teeth goose/geese man/men woman/women child/children
leaf/leaves knife/knives wolf/wolves loaf/loaves shelf/shelves wife/wives half/halves
box/boxes fox/foxes bus/buses glass/glasses dish/dishes wish/wishes watch/watches
peach/peaches church/churches baby/babies city/cities berry/berries story/stories
lady/ladies fly/flies pony/ponies puppy/puppies party/parties tomato/tomatoes
potato/potatoes hero/heroes cat/cats dog/dogs book/books tree/trees boat/boats day/days
key/keys toy/toys door/doors apple/apples bird/birds house/houses horse/horses
star/stars river/rivers stone/stones chair/chairs table/tables window/windows cup/cups
spoon/spoons garden/gardens road/roads flower/flowers hand/hands letter/letters
""")
PASTS = pairs("""
run/ran go/went see/saw eat/ate come/came give/gave take/took make/made find/found
think/thought bring/brought buy/bought catch/caught teach/taught sing/sang swim/swam
drink/drank begin/began ring/rang sit/sat speak/spoke break/broke write/wrote ride/rode
drive/drove fly/flew grow/grew know/knew throw/threw draw/drew sleep/slept keep/kept
feel/felt leave/left lose/lost sell/sold tell/told hold/held stand/stood fall/fell
wear/wore forget/forgot hide/hid build/built send/sent win/won dig/dug choose/chose
walk/walked jump/jumped play/played look/looked laugh/laughed carry/carried cry/cried
stop/stopped hop/hopped open/opened help/helped wait/waited paint/painted climb/climbed
""")
COLOURS = choices("""
green: grass / a frog / a pea / spinach / a cucumber / moss
white: snow / milk / salt / flour / chalk / a swan
red: blood / a strawberry / a ripe tomato / a cherry / a fire engine
black: coal / soot / a raven / tar / liquorice
yellow: butter / a lemon / a banana / a sunflower / mustard
blue: the sky / the sea / a sapphire / a bluebell
brown: chocolate / mud / a walnut / coffee / toast
orange: a carrot / a pumpkin / a ripe apricot
grey: ash / an elephant / lead / a rain cloud
""")
CATEGORIES = choices("""
bird: robin / owl / eagle / duck / crow / gull / sparrow / swan / parrot / hawk
fish: trout / salmon / cod / herring / shark / carp / tuna
tree: oak / pine / willow / elm / birch / maple / ash
fruit: apple / pear / plum / grape / cherry / peach / orange / melon
vegetable: carrot / onion / cabbage / potato / bean / turnip / leek
tool: hammer / saw / spade / drill / rake / axe / chisel
vehicle: car / bus / tram / bicycle / truck / van / train
animal: horse / cow / sheep / fox / rabbit / lion / elephant / otter / bear / goat
garment: coat / scarf / shirt / jacket / dress / sock / apron
insect: bee / ant / beetle / moth / wasp / butterfly / cricket
flower: rose / tulip / daisy / lily / violet / poppy
instrument: violin / drum / flute / piano / trumpet / harp
""")
RHYMES = choices("""
at: cat / hat / bat / mat / rat
ee: tree / sea / bee / key / me
ight: light / night / kite / white
all: wall / tall / small / crawl
oat: boat / coat / goat / note
ain: rain / train / lane / plane
ing: king / ring / sing / wing
oon: moon / spoon / noon / tune
ake: lake / snake / cake / make
air: bear / chair / hair / pear
og: dog / fog / log / frog
ar: star / car / far / jar
ed: red / bed / bread / head
ow: snow / toe / crow / go
oo: blue / shoe / two / new
ook: book / hook / cook / look
ay: day / play / grey / they
""")
WORDS = sorted({word for pair in OPPOSITES + PLURALS + PASTS for word in pair})
NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven"]


def coloured(rng):
    right, wrong = rng.sample(list(COLOURS), 2)
    return right, *rng.sample(COLOURS[right], 2), wrong


def sorted_out(rng):
    """Three of a category, the category, and another one, each with its article."""
    kind, other = rng.sample(list(CATEGORIES), 2)
    words = *rng.sample(CATEGORIES[kind], 3), kind, other
    return [("an " if word[0] in "aeiou" else "a ") + word for word in words]


def rhymed(rng):
    family, other = rng.sample(list(RHYMES), 2)
    return *rng.sample(RHYMES[family], 2), rng.choice(RHYMES[other])


def capitalised(rng):
    phrase = " ".join(rng.sample(WORDS, rng.randrange(1, 4)))
    return phrase, phrase.upper()


def ordered(rng):
    words = rng.sample(WORDS, 3)
    return " ".join(words), " ".join(words[::-1]), ", ".join(sorted(words)), *words


def spelled(rng):
    number, word = rng.randrange(2, 8), rng.choice(WORDS)
    phrase = " ".join(rng.sample(WORDS, number))
    letters = (word, len(word), word[0], word[-1], "-".join(word))
    return phrase, number, NUMBERS[number], *letters


FACTS = {
    "plus": added,
    "minus": added,
    "times": multiplied,
    "double": doubled,
    "chain": chained,
    "tens": by_tens,
    "compare": lambda rng: sorted(rng.sample(range(100), 3)),
    "count": counted,
    "story": happened,
    "boxes": packed,
    "opposite": lambda rng: rng.sample(rng.choice(OPPOSITES), 2),
    "plural": lambda rng: rng.choice(PLURALS),
    "past": lambda rng: rng.choice(PASTS),
    "colour": coloured,
    "category": sorted_out,
    "rhyme": rhymed,
    "capitals": capitalised,
    "order": ordered,
    "spelling": spelled,
}
