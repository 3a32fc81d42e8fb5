"""Readings: the store on real databases, statistics, export."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, recall_score
from sqlalchemy import create_engine

from cxrlib import reviews, tables
from cxrlib.metrics import OperatingPoint
from cxrlib.reviews import ReviewError, Store
from cxrlib.reviews.agreement import counts_of
from cxrlib.reviews.exchange import COLUMNS
from cxrlib.reviews.schema import SCHEMA

POINT = OperatingPoint("youden", 0.4, 0.3, 0.5)


# --- databases ------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path):
    if request.param == "sqlite":
        engine = create_engine(f"sqlite:///{tmp_path / 'reviews.db'}")
    else:
        engine = create_engine(request.getfixturevalue("postgres"))
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine):
    return Store(engine)


def begin(store, name="AB", *, length=3, seed=0, **other):
    asked = {
        "role": "Radiologist",
        "source": "practice",
        "strategy": "random",
        "split": "",
        "seed": seed,
        "run": "some-run",
        "model": "0123",
        "point": POINT,
        "cases": reviews.practice_cases(length=length, seed=seed),
    }
    return store.start(name=name, **asked | other)


def read_case(store, uid, first, second=None, *, probability=0.9, confidence=3):
    reading = store.session(uid).current
    assert store.answer(reading.id, "first", answer=first, confidence=confidence)
    assert store.commit_first(reading.id, 4.0)
    assert store.keep_probability(reading.id, probability)
    if second:
        assert store.answer(reading.id, "second", answer=second)
    assert store.commit_second(reading.id, 2.0)


def test_both_answers_are_kept_with_their_times(store):
    uid = begin(store)
    read_case(store, uid, "normal", "bacterial", probability=0.8)
    session = store.session(uid)
    done, following, _ = session.readings
    assert (done.first_answer, done.second_answer) == ("normal", "bacterial")
    assert (done.first_seconds, done.second_seconds) == (4.0, 2.0)
    assert session.started <= done.first_at <= done.second_at
    assert done.first_at.utcoffset().total_seconds() == 0
    assert session.current.id == following.id
    assert session.operating_point == POINT


def test_session_is_there_after_a_restart(engine):
    uid = begin(Store(engine))
    read_case(Store(engine), uid, "normal")
    reading = Store(engine).session(uid).current
    Store(engine).answer(reading.id, "first", answer="viral")
    Store(engine).note(reading.id, "left base?")
    engine.dispose()
    found = Store(engine).session(uid).current
    assert (found.position, found.first_answer, found.comment) == (2, "viral", "left base?")
    assert found.stage == "first"


def test_nothing_is_final_without_answer_and_confidence(store):
    reading = store.session(begin(store)).current
    assert not store.commit_first(reading.id, 1.0)
    store.answer(reading.id, "first", answer="normal")
    assert not store.commit_first(reading.id, 1.0)
    store.answer(reading.id, "first", confidence=5)
    assert store.commit_first(reading.id, 1.0)


def test_a_tab_that_lags_behind_changes_nothing(store):
    uid = begin(store)
    reading = store.session(uid).current
    store.answer(reading.id, "first", answer="normal", confidence=1)
    store.commit_first(reading.id, 1.0)
    assert not store.answer(reading.id, "first", answer="viral")
    assert not store.commit_first(reading.id, 9.0)
    assert not store.skip(reading.id)
    store.commit_second(reading.id, 1.0)
    assert not store.answer(reading.id, "second", answer="viral")
    assert not store.note(reading.id, "late")
    assert not store.rate(reading.id, "no")
    found = store.session(uid).readings[0]
    assert (found.first_answer, found.second_answer, found.first_seconds) == ("normal",) * 2 + (1,)


def test_model_says_one_thing_only(store):
    uid = begin(store)
    reading = store.session(uid).current
    assert not store.keep_probability(reading.id, 0.5), "it is still read blind"
    store.answer(reading.id, "first", answer="normal", confidence=1)
    store.commit_first(reading.id, 1.0)
    store.keep_probability(reading.id, 0.5)
    store.keep_probability(reading.id, 0.9)
    assert store.session(uid).readings[0].probability == 0.5


def test_session_ends_with_its_last_case_or_when_asked(store):
    uid = begin(store, length=2)
    read_case(store, uid, "normal")
    assert store.session(uid).ended is None
    read_case(store, uid, "normal")
    assert store.session(uid).ended and store.session(uid).current is None
    early = begin(store, "CD")
    reading = store.session(early).current
    store.end(early)
    assert not store.answer(reading.id, "first", answer="normal")
    assert store.session(early).current is None


def test_skipped_cases_come_back_at_the_end_and_a_skip_is_undone(store):
    uid = begin(store, length=3)
    first, second, third = store.session(uid).readings
    store.skip(first.id)
    assert store.session(uid).current.id == second.id
    store.undo_skip(first.id)
    assert store.session(uid).current.id == first.id
    store.skip(first.id)
    read_case(store, uid, "normal")
    store.skip(third.id)
    assert store.session(uid).ended is None
    assert store.session(uid).current.id == first.id
    # The third is chosen first; from the reveal on it is no longer skipped, and comes first.
    store.answer(third.id, "first", answer="viral", confidence=2)
    store.commit_first(third.id, 1.0)
    now = store.session(uid).current
    assert (now.id, now.stage, now.skipped) == (third.id, "second", False)
    assert not store.skip(third.id) and not store.undo_skip(third.id)
    store.commit_second(third.id, 1.0)
    read_case(store, uid, "normal")
    session = store.session(uid)
    assert session.ended and not any(reading.skipped for reading in session.readings)


def test_two_readers_at_once_do_not_disturb_each_other(store):
    uids = {name: begin(store, name, length=8) for name in ("AB", "CD", "EF")}
    answers = {"AB": "normal", "CD": "viral", "EF": "cannot tell"}

    def read(name):
        for _ in range(8):
            read_case(store, uids[name], answers[name])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(read, uids))
    for name, uid in uids.items():
        session = store.session(uid)
        assert session.ended
        assert {reading.first_answer for reading in session.readings} == {answers[name]}


def test_first_sessions_of_one_name_at_once_make_one_reader(store):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: begin(store, "AB", seed=seed), range(4)))
    (reader,) = store.readers()
    assert len(reader.sessions) == 4


def test_deleting_a_reader_is_complete_and_spares_others(store):
    gone, stays = begin(store, "Dr Vanishing"), begin(store, "CD")
    store.note(store.session(gone).current.id, "UNIQUE-COMMENT")
    store.delete_reader(next(r.id for r in store.readers() if r.name == "Dr Vanishing"))
    with pytest.raises(ReviewError, match="no such session"):
        store.session(gone)
    assert reviews.export(store).reader.unique().tolist() == ["CD"]
    assert store.session(stays).current is not None


def test_sqlite_keeps_no_bytes_of_the_deleted(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'reviews.db'}")
    store = Store(engine)
    uid = begin(store, "Dr Vanishing")
    store.note(store.session(uid).current.id, "UNIQUE-COMMENT")
    assert b"UNIQUE-COMMENT" in (tmp_path / "reviews.db").read_bytes()
    store.delete_reader(store.readers()[0].id)
    engine.dispose()
    for file in tmp_path.iterdir():
        data = file.read_bytes()
        assert not any(word in data for word in (b"Vanishing", b"UNIQUE-COMMENT", uid.encode()))


def test_database_of_another_layout_is_refused_and_left_alone(engine):
    uid = begin(Store(engine))
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE schema SET version = 99")
    with pytest.raises(ReviewError, match=r"layout 99.*import them"):
        Store(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE schema SET version = {SCHEMA}")
    assert Store(engine).session(uid).current


def test_unknown_session_is_an_error_that_says_what_to_do(store):
    with pytest.raises(ReviewError, match="Begin a new one"):
        store.session("nothing")


# --- export and import ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["csv", "json"])
def test_export_comes_back_as_it_was(store, how):
    uid = begin(store, "NA", length=3)
    store.note(store.session(uid).current.id, '=NULL, "quoted"\nand — a second line')
    read_case(store, uid, "normal", "viral", probability=0.1 + 0.2)
    store.flag(store.session(uid).current.id, "first", True)
    store.answer(store.session(uid).current.id, "first", answer="cannot tell", confidence=2)
    begin(store, "CD", length=2)
    before = reviews.export(store)
    if how == "csv":
        table = reviews.read_csv(tables.to_csv(before))
    else:
        table = reviews.read_json(reviews.write_json(before).encode())
    assert reviews.restore(store, table) == 0, "they are all here"
    for reader in store.readers():
        store.delete_reader(reader.id)
    assert reviews.restore(store, table) == 2
    pd.testing.assert_frame_equal(reviews.export(store), before)
    assert store.session(uid).current.first_answer == "cannot tell", "it goes on where it was"


def test_another_file_is_refused(store):
    begin(store)
    good = reviews.export(store)
    for data in (b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b"{"):
        with pytest.raises(ReviewError, match="does not hold readings"):
            reviews.read_csv(data)
        with pytest.raises(ReviewError, match="does not hold readings"):
            reviews.read_json(data)
    for column, value in (
        ("first_answer", "healthy"), ("label", "ILL"), ("source", "elsewhere"),
        ("first_confidence", 9), ("started", "yesterday"), ("uid", ""), ("position", 1),
        ("flagged", "perhaps"),
    ):  # fmt: skip
        bad = good.astype(object).assign(**{column: value}).to_csv(index=False).encode()
        with pytest.raises(ReviewError, match="does not hold readings"):
            reviews.read_csv(bad)
    assert tuple(good.columns) == COLUMNS


# --- agreement ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matrix", "published"),
    [
        # Fleiss, Levin & Paik 2003, table 18.1: 100 patients, two raters, three diagnoses.
        ([[75, 1, 4], [5, 4, 1], [0, 0, 10]], (0.68, 0.50, 0.85)),
        # The example of PROC FREQ in SAS's manual, as statsmodels tests itself against it.
        ([[0, 4, 1], [0, 8, 0], [0, 1, 5]], (0.4842, 0.2137, 0.7547)),
    ],
)
def test_cohen_kappa_and_its_interval_of_published_examples(matrix, published):
    a = [name for name, row in zip("pno", matrix, strict=True) for _ in range(sum(row))]
    b = [name for row in matrix for name, n in zip("pno", row, strict=True) for _ in range(n)]
    found = reviews.cohen_kappa(a, b)
    digits = len(str(published[0])) - 2
    assert [round(x, digits) for x in (found.value, found.low, found.high)] == list(published)


@pytest.mark.parametrize("seed", range(5))
def test_cohen_kappa_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    a = rng.choice(["normal", "pneumonia", "cannot tell"], 40)
    b = np.where(rng.random(40) < 0.7, a, rng.permutation(a))
    found = reviews.cohen_kappa(list(a), list(b))
    assert found.value == pytest.approx(cohen_kappa_score(a, b))
    assert found.low < found.value < found.high


def test_interval_of_cohen_kappa_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        a = rng.random(120) < 0.5
        b = np.where(rng.random(120) < 0.8, a, ~a)  # kappa 0.6
        found = reviews.cohen_kappa(list(a.astype(str)), list(b.astype(str)))
        hits += found.low <= 0.6 <= found.high
    assert 0.92 < hits / 400 < 0.98


def test_kappa_without_a_meaning_is_undefined_or_has_no_interval():
    assert str(reviews.cohen_kappa([], [])) == "undefined"
    assert str(reviews.cohen_kappa(["normal"] * 3, ["normal"] * 3)) == "undefined"
    assert "no interval" in str(reviews.cohen_kappa(["a", "b"], ["a", "b"]))
    assert str(reviews.fleiss_kappa(np.empty((0, 3)))) == "undefined"
    assert str(reviews.fleiss_kappa([[3, 0], [3, 0]])) == "undefined"


# Ten subjects, fourteen raters, five categories: the worked example of Wikipedia's article on
# Fleiss' kappa; kappa 0.210.
WIKIPEDIA = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


# Fleiss 1971, table 1: thirty patients, six psychiatrists, five diagnoses; kappa 0.430. A line is a
# diagnosis, a digit how many psychiatrists chose it for that patient.
FLEISS = np.array(
    [
        [int(digit) for digit in patients]
        for patients in (
            "000002022011010035010002104010",
            "031030000001302001200120050200",
            "004004430000300500020000000050",
            "600030014054053010400514410400",
            "031600200600001120036030102006",
        )
    ]
).T


@pytest.mark.parametrize(("counts", "kappa"), [(WIKIPEDIA, 0.210), (FLEISS, 0.430)])
def test_fleiss_kappa_of_published_examples(counts, kappa):
    found = reviews.fleiss_kappa(counts)
    assert round(found.value, 3) == kappa
    assert found.low < kappa < found.high


def test_sensitivity_and_specificity_are_those_of_scikit_learn(store):
    rng = np.random.default_rng(5)
    uid = begin(store, length=24)
    for _ in range(23):
        first, second = rng.choice(["normal", "pneumonia", "viral", "bacterial"], 2)
        read_case(store, uid, first, second, probability=float(rng.random()))
    store.skip(store.session(uid).current.id)
    store.end(uid)
    table = reviews.export(store, uid=uid)
    found = reviews.session_result(table)
    assert (found.read, found.skipped) == (23, 1)
    done = table[table.second_at.notna()]
    truth = done.label == "PNEUMONIA"
    for said, accuracy in (
        (done.first_answer != "normal", found.before),
        (done.second_answer != "normal", found.after),
        (done.probability >= POINT.threshold, found.model),
    ):
        assert accuracy.sensitivity.value == pytest.approx(recall_score(truth, said))
        assert accuracy.specificity.value == pytest.approx(recall_score(~truth, ~said))
        assert accuracy.sensitivity.low < accuracy.sensitivity.high
    assert (found.seconds, found.seconds_after) == (4.0, 2.0)


def test_changed_answers_for_better_and_worse(store):
    uid = begin(store, length=6)
    truths = [reading.label for reading in store.session(uid).readings]
    right = {"NORMAL": "normal", "PNEUMONIA": "bacterial"}
    wrong = {"NORMAL": "viral", "PNEUMONIA": "normal"}
    steps = [
        (wrong, right), (right, wrong), (right, right), (wrong, wrong),
        (wrong, dict.fromkeys(wrong, "cannot tell")), (dict.fromkeys(wrong, "cannot tell"), right),
    ]  # fmt: skip
    for truth, (first, second) in zip(truths, steps, strict=True):
        read_case(store, uid, first[truth], second[truth])
    found = reviews.session_result(reviews.export(store)).changed
    assert dict(zip(found.position, found.effect, strict=True)) == {
        1: "better", 2: "worse", 5: "neither", 6: "better"
    }  # fmt: skip


def test_cannot_tell_is_neither_found_nor_cleared(store):
    uid = begin(store, length=4)
    for _ in range(4):
        read_case(store, uid, "cannot tell", probability=0.45)
    found = reviews.session_result(reviews.export(store))
    assert found.before.sensitivity.value == found.before.specificity.value == 0
    # The model's "uncertain" is its like, but it is held to its threshold where it is measured.
    assert found.model.sensitivity.value == 1


def test_cases_on_which_reader_model_and_label_differ(store):
    uid = begin(store, length=4)
    truths = [reading.label for reading in store.session(uid).readings]
    for number, truth in enumerate(truths):
        right = "normal" if truth == "NORMAL" else "viral"
        wrong = "viral" if truth == "NORMAL" else "normal"
        model = 0.0 if truth == "NORMAL" else 1.0
        read_case(
            store,
            uid,
            wrong if number == 1 else right,
            wrong if number == 2 else right,
            probability=1 - model if number == 3 else model,
        )
    found = reviews.session_result(reviews.export(store))
    assert found.differing.position.tolist() == [2, 3, 4]
    # Wrong is the reader's first answer in case 2, the second in case 3, the model in case 4.
    assert (found.agreement_before.agreed, found.agreement_before.cases) == (2, 4)
    assert found.agreement_after.agreed == 2
    assert str(found.agreement_after).startswith("2 of 4 agree (κ ")


def test_readers_beside_each_other(store):
    said = {
        "AB": ["normal", "viral", "normal", "viral"],
        "CD": ["normal", "bacterial", "viral", "normal"],
        "EF": ["normal", "pneumonia", "cannot tell", "normal"],
    }
    for name, answers in said.items():
        uid = begin(store, name, length=4)
        for answer in answers:
            read_case(store, uid, answer)
    calls = reviews.calls_by_reader(reviews.export(store))
    pairs = reviews.kappa_matrix(calls).set_index(["one", "other"])
    assert pairs.cases.tolist() == [4, 4, 4]
    assert pairs.loc[("AB", "CD"), "kappa"].value == pytest.approx(
        cohen_kappa_score(calls.AB, calls.CD)
    )
    assert pairs.loc[("AB", "CD"), "agreement"] == 0.5
    counts = counts_of(calls)
    assert counts.sum(axis=1).eq(3).all()
    argued = reviews.argued(calls)
    # Case 3: three different answers; case 4: two against one; the others agree.
    assert argued.disagreement.round(3).tolist() == [1.0, 0.667]
    assert argued.index[0] == store.session(uid).readings[2].case_key
