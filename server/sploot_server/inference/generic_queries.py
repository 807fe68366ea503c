"""Queries that people type into any library of memes, one per line.

A caption that is near to many of them is near to every query, and a query that is nearer to them than to a caption says
nothing about the caption: see `text_encoder`.
"""

GENERIC_QUERIES = tuple(
    """
funny dog
cute cat
surprised face
man shouting at the sky
two people arguing
programmer humour
food that went wrong
girl looking confused
nobody listens to me
animals behaving like people
playing video games all night
baby laughing
politician giving a speech
love and dating
sports fans celebrating
an old joke about money
the one with the red car
monday morning
when you finally get paid
waiting for the weekend
work from home
my boss is angry
meeting at the office
school exam tomorrow
teacher and students
homework not done
summer holidays
winter is too cold
rainy weather
too hot outside
christmas presents
birthday party
happy new year
halloween costume
wedding and marriage
my wife and my husband
my girlfriend is jealous
single forever
first date
breaking up
mother calls me
father tells a joke
grandparents and the internet
brother and sister
kids these days
growing old
being an adult
paying bills
no money left
rich people
shopping online
expensive things
free stuff
buying a house
moving to a new flat
neighbours making noise
cleaning the kitchen
doing the laundry
cooking dinner
pizza
coffee in the morning
drinking beer
eating too much
on a diet
going to the gym
running a marathon
football match
losing the game
winning at last
chess
driving a car
traffic jam
missed the bus
airplane travel
vacation photos
at the beach
camping in the woods
riding a bike
lost my keys
broken phone
low battery
slow internet
forgotten password
computer crashed
windows update
software bug
server is down
artificial intelligence
robot takes over
science explained
maths is hard
history lesson
space and planets
aliens exist
conspiracy theory
breaking news
elections
taxes
the government
police officer
going to court
doctor and patient
at the dentist
being sick
headache
cannot sleep
sleeping in late
bad dreams
tired all day
procrastination
new year resolutions
motivational quote
life advice
deep thoughts
existential crisis
anxiety
feeling sad
crying
laughing out loud
very happy
angry reaction
awkward silence
embarrassing moment
disappointed
shocked
scared
bored
confused
suspicious look
smug smile
facepalm
thumbs up
thumbs down
applause
dancing
singing
music taste
guitar
movie scene
superhero
star wars
cartoon character
anime
television series
reading a book
horror story
magic
medieval knight
king and queen
pirate
dinosaur
horse
bird
fish
frog
spider
bear
duck
monkey
chicken
cow
plants and flowers
garden
trees
ocean
fire
explosion
falling down
accident
expectation and reality
before and after
how it started
me and my friends
group chat
text message
social media
likes and followers
selfie
haircut
new clothes
fashion
tattoo
shoes
glasses
old man
young woman
hacker
secret plan
good idea
bad decision
it was a trap
I told you so
you had one job
nobody asked
wait, what
not my problem
this is fine
trust nobody
job interview
quitting my job
salary
overtime
deadline
spreadsheet
email
printer
elevator
language learning
translation fail
spelling mistake
word play
dad joke
""".strip().splitlines()
)
