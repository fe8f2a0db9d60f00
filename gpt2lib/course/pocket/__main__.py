"""Makes bin/pocket: python -m gpt2lib.course.pocket"""

from gpt2lib.course.pocket.training import make

if __name__ == "__main__":
    make()
