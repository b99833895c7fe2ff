import re
from importlib import resources

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.batch import BatchConfig
from absa.errors import ConfigError
from absa.stop import StopConfig
from cluster.job import Job, TaskConfig, WorkersConfig, with_places
from cluster.job_rules import resolve
from cluster.load_job import MAX_BYTES, dump_job, load_job, parse_job

DEFAULT = dump_job(load_job(None))
SEED = f"an integer at least 0 and less than {2**63}"


def refusal(text: str | bytes, *overrides: str) -> str:
    content = text.encode() if isinstance(text, str) else text
    with pytest.raises(ConfigError) as caught:
        parse_job(content, "job.yaml", overrides)
    return str(caught.value)


def parse(text: str, *overrides: str) -> Job:
    return parse_job(text.encode(), "job.yaml", overrides)


def test_the_default_job_names_every_section_and_has_no_problem():
    job = load_job(None)

    assert job.name == "digits"
    assert job.model_fields_set == set(Job.model_fields) - {"task"}
    resolve(job)


def test_the_default_job_file_explains_every_key():
    text = resources.files("cluster").joinpath("default_job.yaml").read_text()
    schema = Job.model_json_schema()
    sections = [schema, *schema["$defs"].values()]
    names = {name for section in sections for name in section.get("properties", {})}

    assert names - set(re.findall(r"^ *(?:# +)?(\w+):", text, re.MULTILINE)) == set()


@pytest.mark.parametrize(
    "change", ["optimizer.name=adamw", "optimizer.name=lars", "model.name=mlp", "data.name=cifar10"]
)
def test_one_override_of_the_default_job_is_enough(change):
    resolve(load_job(None, [change]))


def test_a_file_is_read_and_overridden(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("batch: {initial: 32}\noptimizer: {lr: 1e-3}\n")

    job = load_job(path, ["batch.initial=16", "batch.max=64", "batch.max=128", "name=7"])

    assert (job.batch.initial, job.batch.max, job.optimizer.lr, job.name) == (16, 128, 1e-3, "7")


def test_a_job_is_named_after_its_file(tmp_path):
    path = tmp_path / ".über small!.yaml"
    path.write_text("seed: 1")

    assert load_job(path).name == "ber-small-"


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("", [], "job.yaml: empty: write at least one key, such as 'stop: {epochs: 10}'"),
        (
            "# nothing\n",
            [],
            "job.yaml: empty: write at least one key, such as 'stop: {epochs: 10}'",
        ),
        ("- 1", [], "job.yaml:1: must be keys with values, such as 'seed: 1', but is a list"),
        ("5", [], "job.yaml:1: must be keys with values, such as 'seed: 1', but is a single value"),
        ("seed: 1", ["seed"], "--set seed: must be key.path=value, such as batch.initial=64"),
        ("seed: 1", ["=1"], "--set =1: must be key.path=value, such as batch.initial=64"),
        ("seed: 1", ["a..b=1"], "--set a..b=1: must be key.path=value, such as batch.initial=64"),
        (
            "seed: 1",
            ["a." * 999 + "a=1"],
            f"--set {'a.' * 28}a...: must be key.path=value, such as batch.initial=64",
        ),
        ("seed: 1", ["seed.x=1"], "--set seed.x=1: seed.x lies in a value that has no keys"),
        ("seed: 1", ["seed=-1"], f"--set seed=-1: seed must be {SEED}, not -1"),
        ("seed: 1", ["seed="], f"--set seed=: seed must be {SEED}, not nothing"),
        ("seed: x", ["batch.max=1_000"], f'job.yaml:1: seed must be {SEED}, not "x"'),
        (
            "name: a/b",
            [],
            'job.yaml:1: name = "a/b": must begin with a letter or digit and go on with at most 63 '
            "letters, digits, '.', '_' or '-': it names the run's folder",
        ),
        (
            "task: {use: a.b}",
            [],
            'job.yaml:1: task.use = "a.b": must be written as package.module:Class',
        ),
        ("task: {}", [], "job.yaml:1: task.use is missing: it must be text"),
        ("storage: ''", [], 'job.yaml:1: storage must be text that is not empty, not ""'),
        (
            "batch:\n  initail: 64",
            [],
            "job.yaml:2: batch.initail: unknown key (value 64); did you mean batch.initial?\n"
            "    allowed in batch: initial, max, micro, bn_group",
        ),
        (
            "seed: 1",
            ["batch.mx=64"],
            "--set batch.mx=64: batch.mx: unknown key (value 64); did you mean batch.max?\n"
            "    allowed in batch: initial, max, micro, bn_group",
        ),
    ],
)
def test_one_problem_is_one_message(text, overrides, message):
    assert refusal(text, *overrides) == message


def test_a_syntax_error_in_an_override_is_told_with_the_override():
    assert refusal("seed: 1", "batch.max=[1").startswith(
        "--set batch.max=[1: cannot be read as YAML: "
    )


def test_all_problems_are_told_at_once_in_the_order_of_the_file():
    message = refusal(
        "batch:\n  initial: 64\n  max: 32\nlr: 0.1\nseed: -1\nseed: 2\n", "workers.max=0"
    )

    heading, *rest = message.splitlines()
    assert heading == "5 problems in the job"
    assert [line.split(": ")[0] for line in rest if line.startswith("- ")] == [
        "- job.yaml:3",
        "- job.yaml:4",
        "- job.yaml:5",
        "- job.yaml:6",
        "- --set workers.max=0",
    ]


def test_no_rule_is_applied_to_a_value_that_is_already_refused():
    assert refusal("stop: {epoch: 5}").count("\n") == 1
    assert "max" not in refusal("batch: {initial: many}").replace("max,", "")


def test_text_that_is_not_utf_8_is_told_with_its_line():
    assert refusal(b"seed: 1\nname: \xff\n") == (
        "job.yaml:2: not UTF-8 text (byte 0xff): save the job file as UTF-8"
    )
    assert "not UTF-8" in refusal("seed: 1".encode("utf-16"))


def test_a_byte_order_mark_is_no_problem():
    assert parse_job(b"\xef\xbb\xbfseed: 3", "job.yaml").seed == 3


def test_a_missing_file_is_told_with_its_neighbour(tmp_path):
    (tmp_path / "cifar.yaml").write_text("seed: 1")

    with pytest.raises(ConfigError, match=r"no such job file; did you mean .*cifar\.yaml\?"):
        load_job(tmp_path / "cifr.yaml")


def test_what_is_no_readable_file_is_told(tmp_path):
    with pytest.raises(ConfigError, match="the job file cannot be read: Is a directory"):
        load_job(tmp_path)
    with pytest.raises(ConfigError, match=r"the folder .* cannot be read"):
        load_job(tmp_path / "none" / "job.yaml")


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "data.yaml"
    path.write_bytes(b"a" * (MAX_BYTES + 1))

    with pytest.raises(ConfigError, match=f"at most {MAX_BYTES} bytes"):
        load_job(path)


def test_a_task_takes_the_place_of_the_default_data_and_model():
    job = load_job(None, ["task.use=mine.task:Moons", "task.args={hidden: 8}"])

    assert job.task == TaskConfig(use="mine.task:Moons", args={"hidden": 8})
    assert not {"data", "model"} & job.model_fields_set


def test_data_set_beside_a_task_would_not_be_read():
    with pytest.raises(ConfigError, match="data would not be read"):
        load_job(None, ["task.use=mine:Moons", "data.name=mnist"])
    assert refusal("task:\n  use: a:B\nmodel:\n  name: mlp") == (
        'job.yaml:3: model would not be read, because task.use = "a:B" (line 2) brings its own: '
        "remove model, or remove task"
    )


def test_a_job_with_a_task_survives_as_plain_data():
    job = resolve(parse("task: {use: a:B}"))

    assert not {"data", "model"} & job.model_dump().keys()
    assert Job.model_validate(job.model_dump()) == job
    assert resolve(Job.model_validate(job.model_dump(mode="json"))) == job


def test_places_lead_to_the_line_the_override_or_the_nearest_section():
    job = parse("batch:\n  initial: 8\nworkers: {min: 2}\n", "batch.max=16")

    assert job.place("batch.initial") == "job.yaml:2"
    assert job.place("batch.micro") == "job.yaml:1"
    assert job.place("batch.max") == "--set batch.max=16"
    assert job.place("workers.min") == "job.yaml:3"
    assert job.place("seed") == "job.yaml"
    assert resolve(job).place("batch.max") == "--set batch.max=16"


def test_where_a_job_was_written_is_no_part_of_it():
    job = parse("seed: 4")

    assert job == Job(name="job", seed=4)
    assert with_places(job, Job()._places) == job


keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text("a1e-:.\n #'\u2028"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=5,
)
positive = st.integers(1, 2**40)


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    group, groups = draw(st.integers(1, 64)), draw(st.integers(1, 64))
    initial = group * groups
    least = draw(st.integers(1, 9))
    task = draw(
        st.none()
        | st.builds(
            TaskConfig, use=st.just("a:B"), args=st.dictionaries(keys, json_values, max_size=3)
        )
    )
    return Job(
        name=draw(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")),
        seed=draw(st.integers(0, 2**63 - 1)),
        task=task,
        batch=BatchConfig(
            initial=initial,
            max=draw(st.none() | st.integers(initial, 2 * initial)),
            micro=draw(st.sampled_from([group, initial])),
            bn_group=group,
        ),
        stop=StopConfig(
            epochs=draw(st.floats(10, 1e6)),
            target_accuracy=draw(st.none() | st.floats(0, 1, exclude_min=True)),
        ),
        workers=WorkersConfig(min=least, max=draw(st.none() | st.integers(least, 99))),
        storage=draw(st.text("ab/:#'\" \n1", min_size=1)),
    )


@given(jobs())
@settings(max_examples=40)
def test_a_written_job_loads_back_equal(job):
    assert parse(dump_job(job)) == job
    full = resolve(job)
    assert parse(dump_job(full)) == full
    assert resolve(full) == full


@pytest.mark.parametrize(
    "text",
    [
        "optimizer: {name: adamw, betas: [0.8, 0.99]}",
        "optimizer: {name: lars}",
        "schedule: {decay: {kind: steps, epochs: [30, 50]}}",
        "schedule: {decay: {kind: steps, fractions: [0.5, 0.75]}}",
    ],
)
def test_a_job_with_options_of_a_choice_can_be_written_and_resumed(text):
    job = resolve(parse(text))

    assert resolve(parse(dump_job(job))) == job


def test_a_written_job_is_read_the_same_by_any_yaml_reader():
    assert yaml.safe_load(DEFAULT) == load_job(None).model_dump(mode="json")


def test_a_value_without_a_yaml_form_cannot_be_written():
    with pytest.raises(ConfigError, match="cannot be written as YAML"):
        dump_job(Job(task=TaskConfig(use="a:B", args={"x": object()})))


def job_or_refusal(content: bytes, *overrides: str) -> Job | str:
    try:
        return parse_job(content, "job.yaml", overrides)
    except ConfigError as error:
        return str(error)


@given(st.binary(max_size=200))
@settings(max_examples=60)
def test_any_bytes_give_a_job_or_a_refusal(content):
    assert job_or_refusal(content)


@given(
    st.integers(0, len(DEFAULT)),
    st.integers(0, 12),
    st.text("a1:-[]{} \n'\"*&!|>.e\t", max_size=8) | json_values.map(str),
    st.lists(st.text("abdtch.=01-[]{} ", max_size=14) | st.just("batch.max=8"), max_size=2),
)
@settings(max_examples=60)
def test_any_change_of_a_job_gives_a_job_or_a_refusal(start, length, inserted, overrides):
    content = DEFAULT[:start] + inserted + DEFAULT[start + length :]

    outcome = job_or_refusal(content.encode(), *overrides)

    if isinstance(outcome, Job):
        assert parse(dump_job(outcome)) == outcome
    else:
        assert all(": " in line for line in outcome.splitlines()[1:])


@given(st.dictionaries(st.sampled_from(list(Job.model_fields)), json_values, max_size=5))
@settings(max_examples=40)
def test_any_values_in_any_section_give_a_job_or_a_refusal(data):
    outcome = job_or_refusal(yaml.safe_dump(data).encode())

    assert isinstance(outcome, Job) or "job.yaml" in outcome
