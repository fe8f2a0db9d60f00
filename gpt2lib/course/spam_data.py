"""Short phone messages, wanted and unwanted, that no list of words can tell apart.

`python -m gpt2lib.course.spam_data` writes data/spam/messages.tsv, in the layout of the
UCI's SMS collection. Both kinds talk of banks, parcels, prizes and links, with the same
openings and ends; a message is spam for what it wants: your data, your money, a costly
call, a click in a hurry.
"""

import random
import re
from itertools import islice

from gpt2lib.course.extras import MESSAGES, SHORT, choices, fill
from gpt2lib.files import DATA, write_text

FILE = DATA / "spam" / "messages.tsv"
NUMBER = 2000


def labelled_messages(seed):
    """Endless (label, text), 3 ham to 2 spam, no two with the same words."""
    rng, sent = random.Random(seed), set()
    while True:
        for label in rng.sample(["ham"] * 3 + ["spam"] * 2, 5):
            text = make_message(rng, label)
            while without_numbers(text) in sent:
                text = make_message(rng, label)
            sent.add(without_numbers(text))
            yield label, text


def without_numbers(text):
    """What must differ between two messages: the words, whatever their case."""
    return re.sub(r"\d", "", text.lower())


def make_message(rng, label):
    """A message of 20 to 300 characters, some in short words, some without capitals."""
    text = ""
    while not 20 <= len(text) <= 300:
        text = fill(rng, f"{{{label}}}", TEXTS)
    if rng.random() < 0.15:
        text = re.sub(r"[\w']+", lambda word: SHORT.get(word[0], word[0]), text)
    return text.lower() if rng.random() < 0.2 else text


def message_lines():
    """The text of data/spam/messages.tsv: a label, a tab and a message on each line."""
    drawn = islice(labelled_messages(seed=0), NUMBER)
    return "".join(f"{label}\t{text}\n" for label, text in drawn)


# What both kinds share: openings, ends, small talk, the first half of many notices.
SHARED = choices("""
ham: {private ham} / {public ham}
spam: {private spam} / {public spam} / {public spam}
hi: Hi {name}! / Hi {name}, / Hello {name}, / Hey {name}, / Hi there! / Good morning
  {name}! / Dear {name}, / Hello, / Hey, / {name}, / Good evening, / Hi!
parent: Hi {Mum|Dad}, / {Mum|Dad}, / Hello {Mum|Dad}, / Dear {Mum|Dad}, / Morning
  {Mum|Dad}!
sign: love, {name} / {name} x / thanks, {name} / {name}
dear: Dear {name}, / Hello {name}, / Hi {name}, / Good morning {name}! / Dear Sir or
  Madam, / Dear neighbour, / Hello,
shout: URGENT! / Congratulations! / WINNER! / Last chance! / Attention please! / FREE!
  / Great news! / Lucky you! / Read this now! / Final notice!
chat: how are you? / I hope {kin} got home well. / I was at {place} on {weekday}. / it
  is so {cold|hot|wet} today. / sorry that I did not call. / I am a little late with
  this. / it was {lovely|great|good} to see you. / do you remember {fun}? / I will be
  in {country} next week. / my {ache} is better. / long time no see! / I had a {good}
  weekend. / I saw {kin} at {place} on {weekday}. / the {machine} works again. / the
  {pet} ate {thing}. / did you watch {show} on {weekday}? / I have been reading about
  {topic} all {day|night|week}. / thanks for {thing}. / happy birthday to {kin}! /
  {excuse}, so I was late for {fun}. / my {exam} went {well|badly}. / I am writing
  this on the {bus|train|ferry|tram} to {place}. / {kin} and I talked about {topic}
  {lately}.
end: thanks, {name} / thank you! / see you on {weekday}. / love, {name} / I am in a
  hurry, more later. / text me if you {can|like}. / have a {good} day! / {name} x /
  sorry that this is so short. / I will tell you more {later|when we meet}. / {name}
  says hello. / I hope {name} is well. / give my love to {kin}. / off to {place} now.
  / have fun in {country}! / do not forget! / take care! / please tell {name} too.
polite: thank you. / thank you for your patience. / we wish you a {good} {weekday}. /
  greetings from all of us, {name}. / this text is for you only. / greetings,
  {Ella|Sam|Leo|Nina|Ben} and {Grace|Omar|Kofi|Mei|Dev}. / sorry for the trouble. /
  have a {good} day! / it only takes a minute. / we are here to help. / your team at
  the desk. / this text was sent by a machine. / to stop these texts send STOP. / ask
  for {name} if you have questions. / we are closed on {weekday}. / sent on {weekday}
  at {time}. / thank you for your letter of the {4-20}th. / your number with us is
  {A|B|K}{100-999}. / {name} will be glad to serve you on {weekday}.
parcel news: {shop}: your {parcel} is at our depot. / {shop}: nobody was in when we
  came with your {parcel}. / {shop}: your {parcel} could not be delivered today. /
  {shop}: we are holding your {parcel}. / the {parcel} from {shop} came while you were
  out. / {shop}: the label on your {parcel} got wet and we cannot read it. / your
  {parcel} from {shop} did not fit through the door.
bank news: {bank}: {fee} was paid to {shop} {lately}. / {bank}: someone signed in to
  your account from a new phone. / {bank}: we stopped a payment of {fee} to {shop}. /
  {bank}: a new card was ordered for you {lately}. / {bank}: your account was locked
  after three wrong tries. / {bank}: {name} was added to the people you pay. / {bank}:
  your card was used in {country} {lately}. / {bank}: your PIN was changed {lately}.
bill news: your bill of {fee} is due {day}. / invoice {1000-9999} from {shop} for
  {goods}: {fee}. / your phone contract goes on from {day} for {fee}. / your
  subscription to {show} costs {fee} from {day}. / the payment of {fee} for your
  {goods} is due {day}. / you booked {2-6} tickets for {show}, {fee}. / your stay for
  {2-6} people in {country} begins {day} and costs {100-900} pounds.
doctor news: you are due to see {doctor} on {day} at {time}. / {doctor} has to move
  your appointment to {day}. / {doctor} has your test results and a free slot {when}.
  / {Dr. Patel|Dr. Novak|Nurse Kelly} wants to look at your {ache} again {when}. /
  your {yearly check|eye test|flu jab} is on {day} at {time}. / {doctor} can see you
  {day}, sooner than we said.
refund news: the council owes you {fee}. / {fee} of your tax is coming back to you. /
  you paid {fee} too much for the {water|bins|parking}. / your refund for the {late
  train|closed pool|lost parcel} is {fee}. / you were fined by mistake, {fee} is yours
  again.
fine news: your parking permit ends {day}, the next one is {fee}. / your library card
  runs out {day}, a new one is {fee}. / a fine of {fee} for parking at {hall} is open.
  / the bill for your bins is late, {fee} is due. / your car was seen at {hall}
  without a ticket, the fine is {fee}.
job news: {shop} has read your letter and would like to hire you. / you have been
  chosen for a job at {shop}. / {shop} needs {2-9} people to {pack|sell|sort|test}
  {goods}. / {8-30} pounds an hour for some easy work at {shop}. / thank you for your
  interest in the job at {shop}.
prize: a phone / a new phone / a holiday in {country} / a voucher / a {100-700} pound
  voucher / a hamper / a bike / a free meal for two / {100-900} pounds / a box of
  {goods} / two free tickets for {gig} / a teapot
gig: the concert / the film / the fair / the school play / the football / {show}
fun: the party / quiz night / the picnic / the concert / the barbecue / the fair / the
  charity run / sports day / the wedding / the reunion
bank: Harvest Bank / Bluebird Savings / Your bank / Card services / Oak and Acorn Bank
kin: Mum / Dad / Grandma / Grandpa / Auntie {Grace|Nina|Mei|Rosa} / Uncle
  {Owen|Omar|Dev|Pete} / my sister / my brother / Granny / the kids / my cousin /
  {name} / the twins / our neighbour
doctor: Dr. Patel / Dr. Novak / nurse Kelly / the dentist / the optician
hall: the church hall / the gym / the pool / school / the library / the harbour cafe /
  the stadium / the sports ground / the museum
time: {1-12}:{0-5}5 / {2-6}pm / {8-11}am / {1-12}.{1-5}0 / noon / half past {1-9} /
  {9-11} o'clock / quarter to {1-12}
lately: today / yesterday / at {time} / on {weekday}
soon: today / now / tonight / tomorrow / by {weekday} / within {12-48} hours / before
  {time} / this afternoon
fee: {3-90} pounds / {1-9}.{1-9}9 pounds / ${5-90}
premium: 0909 8790{100-999}
site: parcel-point / quickship / my-tickets / our-photos / green-basket / town-hall /
  quiz-club / harvest-bank / home-barn / free-post / noodle-bar
link: {site}.example / {site}.example/{a|b|c|k}{10-99} / {site}.example/{help|go|info}
secret: PIN / password / card number / bank details / PIN and password / date of birth
""")

HAM = choices("""
private ham: {hi} {chat} {joke} / {hi} {chat} {won} {end} / {hi} {chat} {warning} /
  {hi} {friend} / {friend} / {friend} {end} / {hi} {chat} {friend} / {hi} {friend}
  {end} / {hi} {chat} {friend} {end} / {parent} {child ham} {sign} / {shout} {joke} /
  {joke} {end} / {hi} {warning} / {warning} / {warning} {end} / {hi} {won} / {shout}
  {won} / {won} {end} / {hi} {asks} / {asks} {end} / {hi} {chat} {asks} / {rings}
  {end} / {hi} {chat} {rings}
public ham: {parcel news} {parcel ham} / {parcel news} {parcel ham} {polite} / {bank
  news} {bank ham} / {bank news} {bank ham} {polite} / {bill news} {bill ham} / {dear}
  {bill news} {bill ham} {polite} / {doctor news} {doctor ham} / {dear} {doctor news}
  {doctor ham} {polite} / {dear} {refund news} {refund ham} / {fine news} {fine ham}
  {polite} / {dear} {job news} {job ham} / {job news} {job ham} {polite} / {club} /
  {club} {polite} / {hi} {club}
parcel ham: there is nothing to pay. / we will try again {day}. / pick it up within
  {5-9} days and bring some ID. / we never ask for a fee by text, so do not pay anyone
  who does. / the driver will ring your bell again {day}. / reply 1 for this week or 2
  for next week. / no need to click or call, it will be in your porch before {time}. /
  if a text asks you for your card number to send it, it is not from us. / please tell
  us before {time} where to leave it: reply 1 for porch or 2 for shed.
bank ham: was it you? Then there is nothing to do. / if it was not you, call the
  number on the back of your card. / you will see it in your app as usual. / we will
  never ask for your {secret}. / do not reply with your {secret}, we have no use for
  that. / never give your {secret} to anyone who calls. / come to the branch with some
  ID and we will sort it out. / never move money because someone on the phone tells
  you to act {soon}. / do not click a link to confirm it, and do not send us your
  {secret}. / there is no hurry: sign in as usual when you have time.
bill ham: we take it from your account as usual. / there is nothing you need to do. /
  if you have paid, you need not reply. / you can cancel for free in your account
  until {day}. / if the sum is wrong, call the number on your last bill. / you do not
  need to send us your {secret}, we have all we need. / pay as usual, we send no links
  and want no {secret} by text. / this is only for your files, keep it or not.
doctor ham: if you cannot come, just reply NO {soon}. / please come {10-20} minutes
  early. / there is nothing to pay. / it is nothing urgent, we will tell you when you
  come in. / please bring your {letter|old card|tablets} and your date of birth, ha,
  we know you have one. / to change it ring {phone}, the call is free. / we do not
  need your {secret}, only you. / reply YES or NO, or come to the desk before {time}.
  / only a short visit, some {5-20} minutes. / give your name at the desk, no more is
  needed.
refund ham: it goes into your account by itself, you need not claim it. / come to the
  desk with some ID or wait for the letter. / we do not ask for your {secret} to pay
  it. / there is nothing to do, it comes off your next bill. / please click on nothing
  that offers to pay it sooner. / if you think that is wrong, write to us or come in.
  / only wait {5-9} days, it comes by post.
fine ham: come to the desk {when} and bring some ID. / the letter is in the post,
  there is no hurry. / you can pay at the town hall, by cash or card, until the
  {24-28}th. / we send no links: pay as you did last year. / if you think that is
  wrong, write to us or come in. / never pay a man at the door, we do not send one. /
  you can ask for {2-9} more weeks at the desk, just bring this text.
job ham: come in {when} for a chat and ask for {name}. / you never have to send money
  or your {secret} for a job with us. / the interview is {when}, {name} will meet you
  at the door. / bring your passport on the first day, please do not send a photo. /
  the first day is {day} at {time}, boots and coffee are free. / the course is paid by
  us and begins {day}, ask {name} at the till. / before {time} is best, bring some ID
  but no money.
club: raffle night at {hall} {when}: first prize {prize}, tickets {20-90}p at the
  door. / ticket {100-999} won {a hamper|a bike|a teapot|a cake} in our raffle, it is
  behind the bar with your name on it. / the choir won {100-900} pounds! The vote on
  how to spend it is {when} at {hall}. / the boxes for the fair are here, we need
  {2-9} people to carry {goods} {when}. / photos of {fun} are at our-photos.example,
  no password needed. / the code for the club door is now {1000-9999}, please do not
  text it to others. / subs are due: {5-20} pounds, cash in the tin at {hall}, do not
  send it. / free tea for all at {hall} {when}, the cake costs {20-90}p. / the coach
  will ring you {when}, say yes if you want to play. / quiz {when} at {hall}: the
  winner gets {prize}, the loser does the dishes. / you asked us to tell you: the
  {lamps|bikes|coats|phones|watches|books|glasses} you wanted are back, we keep one
  for you until {day}. / school closes at noon {day}. Trip money in an envelope to the
  teacher please, do not send it to any account.
friend: the {machine} man wants {price} just to look at it. Do you know anyone
  cheaper? / my card was refused at {shop}, how embarrassing. I had to put {thing}
  back. / the code for the gate is {1000-9999}, come in and put the kettle on. / I
  have two free tickets for {gig}, come with me {when}! / do you want our old sofa? It
  is free if you carry it out before {time}. / I forgot my PIN again, so I am at the
  bank in a queue of {5-20}. / offer of the day: {kin} will cook, you do the dishes. /
  are you free now? I need help to {chore}. / I got the job at {shop}! Drinks are on
  me {when}. / your parcel came to us by mistake, I put it behind the {machine}. / I
  paid for your ticket for {gig}, you owe me a coffee and no money. / the hotel in
  {country} is booked, we pay when we get there. / the wifi password at {place} is
  {thing}, no joke. / {kin} changed the password to "{pet}{10-99}" and forgot it at
  once. / can we talk about the money for {fun} when I see you? / the menu is at
  noodle-bar.example, tell me by {time} what you want. / is this code yours? It says
  {100000-999999}. I will not send it to anyone. / the doctor sent me home, just a
  {ache}. No need to worry. / my account is empty until {day}, so it is soup at mine.
  / I found the receipt: {price} at {shop}. The refund is for you. / I checked it
  twice: {kin} really did {chore}. / hurry up, the bus goes at {time} and I have your
  ticket! / I clicked on everything, the {machine} still does nothing. / put your
  money in a good umbrella before you go to {country}. / urgent question: do I need
  {thing} for {event}? / the tax form is done! It took {2-9} hours and all the
  biscuits. / you left your bank card at {place}, they keep it for you at the desk. /
  confirmed: {event} is {when}. Bring nothing but {thing}. / I nearly sent your photo
  to my boss! The one with {thing} on your head. / you looked so young in that photo,
  I asked for your date of birth. / finish the {essay|homework|painting} within {2-9}
  hours or no cake, says {Grandma|Mum|Dad}. / I am at {shop} for the sale, shall I get
  you some {goods}? Tell me {soon}, or it is too late. / if you order pizza before
  {time}, get one for {kin} as well. / {chore} {soon} or {kin} will be cross. / send
  me the photos from {fun}, I want to see the {pet} in a hat! / the rent is paid, the
  landlord says thank you and sends you {thing}. / only {2-9} tickets are left for
  {gig}, so tell me {soon} if I should get you one. / I cannot come to {fun}, can you
  ask {soon} who wants my place? / my photos of {country} are at
  our-photos.example/{a|b|c|k}{10-99}, just look, it wants no password. / I got our
  tickets at my-tickets.example, they are on the fridge. / the recipe is at
  {green-basket|noodle-bar|home-barn}.example/{a|b|c|k}{10-99}, I will cook it
  {tonight|this afternoon|tomorrow}. / the bus times are at town-hall.example/info,
  the last one goes before {time}. / can you give {kin} a lift to {place} {soon}? /
  you can only have one of the {lamps|bikes|coats|phones|watches}, give the other back
  to {kin}. / the boiler box says "confirm" and then "info". What does it want? / I
  keep a box of your old {goods} here, come and get it {soon}. / the meter man was
  here and it is {20-90} pounds less than last year! / two pounds of flour, one of
  sugar, {2-9} minutes in the oven, and only then the plums.
asks: can you bring {price} for {fun}? I am at {place} and left my purse on your
  table. / could you lend me {2-9} pounds for lunch? I am in your kitchen with {kin}.
  / can you pay the pizza man when he comes? The money is under the {pet}'s bowl. /
  please buy a gift card for {name} at {shop}, the money is in the envelope on my
  desk. / what is my {PIN|password} again? Do not text it, tell me when I am home! /
  what is your house number? I have a birthday card for {kin} and stand before ten
  doors. / did you get the {20-90} pounds that I gave {name} for you? It was for
  {fun}. / please send {kin} home by {time}, supper is ready. / we still owe {kin}
  {price} for {thing}, let us pay at supper. / can you send the {pet} in? Its supper
  is ready and it will not reply.
child ham: can I have {price} for {fun}? I will show you the letter when I get home. /
  my phone fell in the pool and this is my new number. No rush, see you at lunch on
  {weekday}. / new phone, new number, same old me! Supper at yours {when}, as always?
  / I need {20-90} pounds for the trip. The teacher wants it by {day}, the note is on
  the fridge. / do not send money, I found my purse! It was under the
  {sofa|bed|dog|cake|piano}. / I cannot talk, I am in a meeting until {time}. Shall I
  ring you {then|tonight|at lunch}? / I got the job! No more asking you for money, I
  will pay for supper {when}.
rings: the doctor's number is {phone}, it costs nothing to ask. / call me on {phone}
  {when}, I want to hear about {event}. / ring {kin} on {phone}, it is about {event}.
  / call {phone} and ask for {name}, who mends every {machine} for the price of a pie.
  / you can get me on the office phone {when}: {phone}. / somebody from {shop} rang,
  they found your {scarf|jacket|umbrella}. / I called {premium} by mistake and it cost
  me {fee} a minute. Never again. / {phone} is the plumber, he says ring before
  {time}.
joke: you have been chosen to {chore}! To claim your prize, get off the sofa, says
  Mum. / you have won a weekend with {kin}! Terms apply: bring {thing}. / your {pet}
  has been locked out of its account. It is scratching at the door. / dear customer,
  your supper is held at the kitchen. Pay the fee of one kiss. / a notice from the
  fridge: {the milk|the soup|the rice|half a pie} will leave you {day}. / claim your
  free hug at {place} {when}, no card needed. / we noticed unusual activity in your
  room: it is tidy. Are you well? / act now and get two grandchildren for the price of
  one, {when} at {place}. / you are our millionth child and win {thing}, waiting in
  the kitchen. / a prince wants to send me {1-9} million pounds. I told him I only
  take {thing}. / confirm that you ate the last cake. I have photos. / limited offer:
  one {pet}, used, eats everything. Only joking, I love him. / reply within {2-9}
  hours or the {pet} gets your supper, says {Mum|Dad|Grandma}. / click here to make
  tea. Did it work? No? Then please get up and {chore}.
warning: {kin} got a text from "{bank}" that wants a {PIN|password|card number}. It is
  a scam, please say so! / if "{shop}" texts you to pay a fee at {link} {soon}, do not
  click, it is spam. / someone rang me from {premium} and asked for my {secret}. I
  just laughed. / do not call {premium}, the paper says it costs {2-9} pounds a
  minute. / {kin} got "Hi Mum, send {20-90} pounds to my new number". That was not me,
  was it you? Ha. / I nearly gave my {secret} to a man who said he was from {bank}. /
  a text says I won {prize} and must pay {fee} first. I was not born {weekday}. /
  please never reply to a text that asks for your {secret}, not even if it says
  "{bank}". / got another "click {soon} or lose your account" today. Deleted it. / Dad
  nearly paid {fee} at {link}, a fake shop. I took his card. / the police came to
  {place} to warn us of texts like "your parcel is held, pay {soon}". / that job was
  fake: they want {fee} and a photo of my passport first. I said no. / what a day:
  {2-9} texts that I won {prize}, and not one from you. / a link like {link} in a text
  about your {parcel} is never good, so do not go there. / {premium} rang {2-9} times
  this afternoon. I did not pick up and you should not.
won: I won {prize} at the raffle, call me! / guess who won {prize}? {kin}! / we won!
  The cup stands on the {machine} now. / you won the bet, I owe you {thing}. / {kin}
  won {prize} and gave it away at once. / I never win anything, but today I won
  {prize} at {fun}. / you won the quiz without me? I want to hear all about it {when}.
  / the lottery club won {2-9} pounds. That is {20-90}p each, do not spend it all now.
  / our team got {prize} for the second place, and a free bus home. / your {pet}
  picture won first prize at the {fair|museum|library}, I saw it on the wall! / if I
  win {prize} I will take you along, promise.
""")

SPAM = choices("""
private spam: {parent} {child spam} {sign} / {hi} {chat} {begs} / {chat} {begs} {end}
  / {begs} {end} / {hi} {begs} {end} / {hi} {chat} {begs} {end} / {hi} {poses} /
  {poses} / {poses} {polite} / {hi} {chat} {lure} / {chat} {lure} {end} / {hi} {lure}
  {end} / {lure} {end}
public spam: {parcel news} {parcel spam} / {parcel news} {parcel spam} {polite} /
  {bank news} {bank spam} / {bank news} {bank spam} {polite} / {bill news} {bill spam}
  / {dear} {bill news} {bill spam} {polite} / {doctor news} {doctor spam} / {dear}
  {doctor news} {doctor spam} {polite} / {dear} {refund news} {refund spam} / {fine
  news} {fine spam} {polite} / {dear} {job news} {job spam} / {job news} {job spam}
  {polite} / {hi} {draw} {polite} / {hi} {chat} {draw} / {shout} {draw} {polite} /
  {draw} {polite}
parcel spam: pay the fee of {fee} at {link} {soon} or it goes back. / to get it, reply
  with your address and card number. / give us your {secret} at {link} to choose a
  day. / ring {premium} {soon} and ask for it, {2-9} pounds a minute. / we need {fee}
  for the customs: send it {soon} or we sell it. / click {link} {soon}, or it will
  never come. / confirm who you are: text us your full name and {secret}. / nothing to
  pay, the driver only wants to hear your {secret} first. / no need to bring ID, just
  text us your {secret}.
bank spam: was it not you? Reply with your {secret} and we pay it back. / if it was
  not you, call {premium} with your {secret} ready. / sign in at {link} {soon} or we
  close your account. / to keep your money safe, move it {soon} to the account that we
  text you. / we need your {secret} to stop it, just reply to this text. / when we
  call, read us the code on your phone and tell no one. / send us a photo of your
  card, both sides, {soon}. / do not come to the branch and do not tell anyone, just
  reply with your {secret}. / there is nothing to do but confirm your {secret} at
  {link} {soon}. / never give your {secret} to anyone else: only to us, {soon}. / do
  not bring anything to the branch, a photo of your card and the PIN by text is all we
  ask.
bill spam: if you did not order this, call {premium} {soon} to cancel, {2-9} pounds a
  minute. / pay {soon} at {link} or we send a man to your house. / for your refund,
  reply with your {secret}. / our account has changed, so pay into the one at {link}
  {soon}. / we take it twice unless you confirm your card number at {link} {soon}. /
  if you want to keep it, enter your {secret} again at {link} {soon}. / you can cancel
  for free: just send us your {secret}. / please do not pay as usual this time, the
  new way is {link}.
doctor spam: ring {premium} to hear more, {2-9} pounds a minute. / if you do not
  confirm your card number {soon}, you pay {fee}. / pay {fee} at {link} {soon} and you
  will be seen first. / please reply with your date of birth and bank details first. /
  it is urgent: call {premium} for {2-9} pounds a minute, and stay on the line. / do
  not come: a cure that no doctor tells you about is yours for {fee} at {link}. /
  before you come we want {fee} for the room, send it {soon}.
refund spam: claim it {soon} at {link} with your bank details. / reply with your
  {secret} and it is yours. / call {premium} {soon} to get it, {2-9} pounds a minute.
  / we pay it as soon as you send {fee} for the paperwork. / there is no hurry if you
  give us your {secret} today, after that it is gone. / do not wait for a letter, just
  text us your {secret}. / next week is too late, so please text us some ID and your
  {secret} {soon}.
fine spam: pay {soon} at {link} or the police will come. / reply with your {secret}
  and we sort it out. / call {premium} {soon}, the fee is added to your phone bill. /
  it doubles {day} if you do not pay at {link}. / no need to come to the desk: send a
  photo of your card, both sides. / our man comes to your door {soon}, give him
  {100-900} pounds in cash and ask nothing.
job spam: no interview, just send {fee} for the starter box {soon}. / text us your
  {secret} and a photo of your passport to begin. / all you do is take in money for us
  and pass it on, you keep {10-30}%. / ring {premium} for the interview, {2-9} pounds
  a minute. / the course costs {50-300} pounds, pay {soon} at {link}. / you work when
  you want: like {20-90} videos, put in {fee} and get double back. / next week you are
  paid, this week you pay us: {50-300} pounds for the desk and the chair.
draw: you won {prize} in our raffle, call {premium} {soon}! / your number won {prize}.
  Send {fee} for the postage {soon}. / you won {prize}. To get it, reply with your
  {secret}. / {shop} gives you {prize}: just enter your card number at {link} {soon}.
  / we tried to reach you about {prize}. Ring {premium} before {time}. / you are the
  winner of the quiz at {shop}. Confirm your {secret} {soon} to claim {prize}. /
  answer one question and get {prize}: what colour is {milk|snow}? Text it with your
  bank details. / free {goods} for the first {20-90} who give their {secret} at
  {link}. / take {prize} home, no joke! Pay only {fee} at {link} {soon}. / your old
  number is worth {prize}. Call {premium} to hear why, {2-9} pounds a minute. / the
  lottery club picked you. Click {link} {soon} or someone else gets {prize}. / they
  all said you never win? You did! We keep {prize} for you, bring your {secret} to
  {link}. / your prize is {prize}. Claim it {soon} at {link} with your {secret}. /
  nobody else wanted the first prize, so you get {prize} for {fee}. Pay {soon} at
  {link}.
child spam: my phone fell in the pool, this is my new number. Can you send {20-900}
  pounds {soon}? Do not ring, I cannot talk. / it is me on a new number. I must pay a
  bill {soon}, please transfer {100-900} pounds to {name}'s account for me. / please
  do not be cross, I broke something at {place}. Send {100-900} pounds {soon} to the
  man's account, I text you the number. / my card got lost and I am at {shop}. Text me
  the number of yours and the code on the back {soon}. / I cannot talk, the police
  have my phone. This is a friend's number, send {100-900} pounds here {soon}.
begs: I am in a meeting and cannot talk. Buy {2-9} gift cards at {shop} and text me
  the codes. / I lost my purse in {country}. Please send me {100-900} pounds {soon}, I
  will explain later. / my code went to your phone by mistake. Can you text me the
  {4-6} numbers {soon}? / we found your {pet}! Send {fee} for the vet first and we
  will tell you where. / I paid you {100-900} pounds too much by mistake. Please send
  it back {soon} to this new account. / I am stuck at the airport and my card was
  refused. Can you pay {100-900} pounds at {link} {soon}? No time to call. / the
  teacher asked me to collect: send {fee} for {fun} to my own account {soon}, not to
  the school. / I found your purse, so nothing to worry about. To get it back, text me
  the PIN of the card first. / I want to buy your old sofa, I pay double! A man brings
  the cash when you have sent {fee} for the van. / nothing is wrong, but I need
  {100-900} pounds {soon} for a fine and nobody must know. Put it into the account
  that I text you.
poses: it is your landlord. My bank has changed, pay the rent {soon} into the new
  account that I text you. / there was an accident. The hospital needs {100-900}
  pounds from you {soon}, {name} cannot talk. / I am a widow in {country} with {1-9}
  million pounds. I want to share it, I only need your {secret}. / this is {name} from
  your bank, I am here to help. What is your {secret}? / this is the police. Take your
  money out {soon}, our man comes to your door to keep it safe. / I have your password
  and photos of you. Send {100-900} pounds {soon} or all your friends will see them. /
  the children's home has no bread and no heating. Text us your card number, we take
  only {2-9} pounds. / your phone will be switched off. Keep it on with your {secret}
  at {link} {soon}. / a voice message waits for you. Hear it on {premium}. It will
  cost {2-9} pounds a minute. / you have {2-9} viruses on your phone! Click {link}
  {soon} or all your photos are gone. / you do not know me, but I saw your photo and I
  like it. Send {50-300} pounds for the ticket and I come to you {day}. / I got your
  number from {name}, who says you need money. I lend you {100-900} pounds, send {fee}
  first. / we rang you {2-9} times last week. Please ring back on {premium}, it is
  {2-9} pounds a minute. / your Mum says you need a loan. It is yours next week if you
  send {fee} {soon} and never ask why.
lure: is this you in the photo at {link}? Sign in with your password to see it. /
  please vote for my {pet} at {link}, they only want your email password. / I made
  {100-900} pounds and did nothing at all. Put in {fee} {soon} at {link} and you will
  too. / I have two free tickets for {gig} for you, just pay the fee of {fee} at
  {link} {soon}. / do you want our old phones? They are free, send only {fee} and your
  card number. / somebody has a secret crush on you. Call {premium} to hear who, {2-9}
  pounds a minute. / my uncle says he doubles money in a week. Send him {100-900}
  pounds {soon} and see for yourself. / sorry that I missed your call. Ring me back on
  {premium}, only {2-9} pounds a minute. / special offer, {goods} for nearly nothing!
  Only until {day}, only at {link}, only with your card number. / I read your future
  and it is {good}. Send {fee} and your date of birth and I tell you all. / send this
  to {10-20} friends and your {secret} to me, and you get {prize}. It worked for
  {kin}! / the fan club of {show} has {prize} for you, only give us your {secret}
  {soon}. / my brother says he won {100-900} pounds at {link}. He put in only {fee},
  so send it {soon} if you want some. / supper is on {shop}! For two free plates, text
  your {secret} and bring {kin}. / never worry about money again: {name} gave {fee}
  and got {100-900} pounds. Send yours {soon}, I will pass it on. / guess who won
  {prize}? You! My boss says he needs your {secret} to send it.
""")

TEXTS = MESSAGES | SHARED | HAM | SPAM


if __name__ == "__main__":
    write_text(FILE, message_lines())
