"""Adapt to images of one's own that have no labels, without writing them to disk."""

from PIL import Image

from wemoe_pl import adapt, read_suite

suite = read_suite("miniature").restricted_to(["cars", "svhn"])


def images_of(task: str) -> list[Image.Image]:
    """Yours may come from anywhere, such as `[Image.open(path) for path in folder.iterdir()]`."""
    found = suite.task(task).images("test")
    return [found[i][0] for i in range(200)]


images = {task: images_of(task) for task in suite.tasks}
adapted = adapt(suite, images, steps=30, learning_rate=5e-3)
print(adapted)
for answer in adapted.model.predict(images["svhn"][:3]):
    print(answer.task, answer.class_name, f"{answer.probability:.2f}")
adapted.pictures["routing"].save("routing.png")
adapted.export("merged")  # wemoe_pl.load("merged") reads it again, anywhere
