"""Each key of the valid configs is given each value: it trains, or is refused by name.

``ACCEPTED`` of ``mutations.py`` says which of the two, so a check too many is noticed as well
as one too few. The quick run tries all that is accepted, and of what is refused three values of
each key; the nightly run tries all 13,000, and two changes at a time.
"""

import copy
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .mutations import (
    KL,
    VALUES,
    assert_expected,
    assert_refused_by_name,
    get_values,
    is_accepted,
    mutate,
)
from .valid_configs import VALID, assert_is_ours, assert_trains, parent, paths, rename, train_step


@pytest.mark.parametrize('name', VALID)
def test_a_value_of_a_key_trains_or_is_refused_by_name(name):
    draw = random.Random(name)
    for path in paths(VALID[name]):
        values = get_values(path)
        accepted = [value for value in values if is_accepted(name, path, value)]
        refused = [value for value in values if not is_accepted(name, path, value)]
        for value in [*accepted[:10], *draw.sample(refused, min(3, len(refused)))]:
            assert_expected(name, path, value)


@pytest.mark.nightly
@pytest.mark.parametrize('name', VALID)
def test_every_value_of_every_key_trains_or_is_refused_by_name(name):
    for path in paths(VALID[name]):
        for value in get_values(path):
            assert_expected(name, path, value)


@pytest.mark.parametrize('name', VALID)
def test_an_unknown_key_is_refused_by_name(name):
    for path in [(), *paths(VALID[name])]:
        cfg = copy.deepcopy(VALID[name])
        owner = cfg
        for key in path:
            owner = owner[key]
        if isinstance(owner, dict):
            owner['tua'] = 4
            with pytest.raises((ValueError, TypeError)) as caught:
                train_step(cfg)
            assert_is_ours(caught.value, 'tua')


@pytest.mark.parametrize(
    ('key', 'value', 'names'),
    [
        ('logit_loss', KL, ['features', 'features and logits']),
        (
            'entropy_grad',
            0.5,
            [name for name in VALID if name.startswith(('kd', 'dkd', 'log-space', 'features'))],
        ),
    ],
)
def test_an_argument_is_refused_by_name_where_it_would_do_nothing(key, value, names):
    for name in VALID:
        cfg = dict(copy.deepcopy(VALID[name]), **{key: value})
        if name in names:
            assert_trains(train_step(cfg))
        else:
            with pytest.raises(ValueError, match=rf'distiller\.{key}=') as caught:
                train_step(cfg)
            assert_refused_by_name(caught.value, (key,), value)


@pytest.mark.parametrize('name', VALID)
def test_classes_that_disagree_are_refused_by_name(name):
    has_number = 'num_classes' in repr(VALID[name])
    for classes in ((7, 10), (10, 7), *[(7, 7)] * has_number):
        # How wide the outputs of a method are shows in a step.
        with pytest.raises(
            ValueError, match=r'num_classes( of the heads)?=|must match|logits of one width'
        ) as caught:
            train_step(VALID[name], classes)
        assert_is_ours(caught.value)
    if not has_number:
        assert_trains(train_step(VALID[name], (7, 7)))


@pytest.mark.parametrize('name', VALID)
def test_a_misspelt_key_is_never_ignored(name):
    for path in paths(VALID[name]):
        key = path[-1]
        if path[:-1] == ('distill_deliveries',):  # nothing refers to these names
            continue
        for misspelt in (f'{key}s', key[:-1], key.upper()):
            cfg = copy.deepcopy(VALID[name])
            rename(cfg, path, misspelt)
            with pytest.raises((ValueError, TypeError)) as caught:
                train_step(cfg)
            assert_is_ours(caught.value, misspelt, key)


KINDS = ['replace'] * 5 + ['tweak'] * 3 + ['move'] * 2 + ['add', 'classes']


@st.composite
def mutated_configs(draw):
    """A config, the classes of student and teacher, and what was changed."""
    cfg = copy.deepcopy(VALID[draw(st.sampled_from(list(VALID)))])
    classes = [10, 10]
    changes = []
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(list(paths(cfg))))
        key = path[-1]
        kind = draw(st.sampled_from(KINDS))
        if kind == 'replace':
            mutate(cfg, path, draw(st.sampled_from(VALUES)))
        elif kind == 'tweak':
            value = parent(cfg, path)[key]
            if isinstance(value, (int, float)):
                parent(cfg, path)[key] = not value if isinstance(value, bool) else 2 * value
        elif kind == 'move':
            other = draw(st.sampled_from(list(paths(cfg))))
            parent(cfg, path)[key] = copy.deepcopy(parent(cfg, other)[other[-1]])
        elif kind == 'add':
            key = draw(
                st.sampled_from(['tua', 'data_idx', 'loss_x', 'num_classes', 'logits_module'])
            )
            parent(cfg, path)[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        else:
            key = 'num_classes'
            classes[draw(st.integers(0, 1))] = draw(st.sampled_from([2, 7, 11]))
        changes.append((kind, path, key))
        if not list(paths(cfg)):
            break
    return cfg, classes, changes


@pytest.mark.nightly
@settings(max_examples=2500, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutated_configs())
def test_two_changes_train_or_are_refused_by_name(mutated):
    """Of other configs each night, which the report of a failure prints."""
    cfg, classes, changes = mutated
    try:
        trained = train_step(cfg, classes)
    except Exception as error:
        assert_is_ours(error, *(key for _, path, added in changes for key in (*path, added)))
    else:
        assert_trains(trained)
