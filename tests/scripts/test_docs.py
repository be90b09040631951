"""What README.md and docs/ show is run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import gymnasium
import pytest

import vidselect_env  # noqa: F401 (registers the environments)

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def block(document: str, starting: str) -> str:
    """The fenced Python block that starts with a line."""
    text = (REPOSITORY / document).read_text()
    found = re.search(rf"```python\n({re.escape(starting)}.*?)```", text, re.DOTALL)
    assert found, f"{document} has no Python block that starts with {starting!r}"
    return found.group(1)


@pytest.mark.parametrize(
    ("document", "starting", "module", "agent", "options"),
    [
        ("README.md", "# greedy_mean.py", "greedy_mean", "GreedyMean", []),
        ("docs/plugins.md", "import torch\n\n\nclass LinUCB", "linucb", "LinUCB", ["--observation", "features"]),
    ],
)
def test_an_agent_from_the_docs_trains_and_is_reported(
    warm, tmp_path, video_folder, document, starting, module, agent, options
):
    (tmp_path / f"{module}.py").write_text(block(document, starting))
    environment = {"VIDSELECT_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)}
    arguments = ["--agent", f"{module}:{agent}", "--dataset", f"folder:{video_folder}", "--candidates", "6"]
    arguments += ["--sections", "2", "--folds", "2", "--total-timesteps", "16", "--num-envs", "4", *options]
    script = REPOSITORY / "scripts" / "train_agent.py"
    ended = warm.run(script, *arguments, folder=tmp_path, environment=environment)
    assert ended.status == 0, ended.output
    [run] = (tmp_path / "runs").iterdir()
    assert f"| {module}:{agent} |" in (run / "report.md").read_text()


def test_the_readmes_environment_is_what_it_says(tmp_path, monkeypatch):
    """On three videos in the place of the small bank's 32, to be quick."""
    monkeypatch.setenv("VIDSELECT_CACHE", str(tmp_path))
    monkeypatch.setattr("vidselect_env.bank.cached.SMALL_BANK_VIDEOS", 3)
    env = gymnasium.make("VideoClipSelect-v0")
    observation, _ = env.reset(seed=0)
    assert f"{observation.shape} uint8" in (REPOSITORY / "README.md").read_text()
    assert env.step(env.action_space.sample())[2]
    envs = gymnasium.make_vec("VideoClipSelect-v0", num_envs=5, vectorization_mode="vector_entry_point")
    observations, _ = envs.reset(seed=0)
    assert observations.shape == (5, *observation.shape)


def test_the_example_of_similarity_guided_sampling_runs(capsys):
    exec(block("docs/sgs.md", "from vidselect_classifiers import make_classifier"), {})
    assert "('stem', 'layer1', 'layer2', 'sgs', 'layer3', 'layer4')" in capsys.readouterr().out


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_agent_has_its_page():
    from vidselect_agents import AGENTS
    from vidselect_env.evaluation.references import REFERENCES

    pages = "".join(path.read_text() for path in (REPOSITORY / "docs" / "agents").glob("*.md"))
    for agent in [*AGENTS, *REFERENCES]:
        assert f"`{agent}`" in pages
