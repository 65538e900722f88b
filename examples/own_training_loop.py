"""Adapt the routers of a WEMoE encoder in a training loop of one's own, in plain torch."""

import torch
from torch.distributions import Categorical

from wemoe_pl import MultiTaskClassifier, load_encoder, read_suite, upscale

torch.manual_seed(0)
suite = read_suite("miniature").restricted_to(["cars", "svhn"])
experts = {task: load_encoder(source, suite.backbone) for task, source in suite.experts.items()}
encoder = upscale(suite.load_pretrained(), experts, init_lambda=0.3, router_depth=2)
heads = {task: suite.load_head(task) for task in suite.tasks}
model = MultiTaskClassifier(encoder, heads, backbone=suite.backbone)

images, labels = {}, {}
for task in suite.tasks:
    found = suite.task(task).images("test")
    images[task] = torch.stack([model.preprocess(found[i][0]) for i in range(200)])
    labels[task] = torch.tensor(found.labels[:200])  # to see whether it helps


@torch.no_grad()
def accuracies() -> dict[str, float]:
    answers = {task: model(batch, task).argmax(dim=-1) for task, batch in images.items()}
    return {task: (answers[task] == labels[task]).float().mean().item() for task in answers}


print("merged: ", accuracies())
optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=5e-3)
for _ in range(30):
    batches = {task: every[torch.randint(200, (16,))] for task, every in images.items()}
    logits = {task: model(batch, task) for task, batch in batches.items()}
    loss = sum(Categorical(logits=values).entropy().mean() for values in logits.values())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("adapted:", accuracies())
