"""Who is told what to check, when, and what comes of what they say."""

from collections.abc import Mapping
from dataclasses import replace

from envoy.service.health.v3 import hds_pb2

from penstock.signals.edge_checks import checks_of, places_of
from penstock.signals.edge_probing import BENCH, LINGER, QUIET, Checker, EdgeProbing
from penstock.signals.health_reports import HealthReport, read_report
from penstock.signals.votes import Tally
from penstock_envoy.health_checks import author_health_check
from penstock_policies.policyset import PolicySet
from tests.signals.edge_policies import CLOUD, FAR, ILL, ONE, ONPREM, TWO, WELL, edge_policy, probed, report
from tests.signals.signal_policies import cluster

EU, US = "eu-west", "us-east"


class Edge:
    """The Envoys of two regions, on a clock of the test's."""

    def __init__(self, policy: PolicySet | None = None) -> None:
        self.now = 1000.0
        self.probing = EdgeProbing()
        self.told = dict[str, list[dict[str, list[str]]]]()
        self.intervals = dict[str, float]()
        self.verdicts = dict[tuple[str, str, str], tuple[int, int]]()
        self.turned = 0
        self.there = list[Checker]()
        self.mute = set[str]()
        """Envoys that have fallen silent; all others report, if only about nothing."""
        self.apply(policy or edge_policy())

    def apply(self, policy: PolicySet) -> None:
        told = {name: author_health_check(one) for name, one in policy.clusters.items()}
        self.probing.apply(checks_of(policy, told), places_of(policy), self.now)

    def come(self, *nodes: str, region: str = EU) -> list[Checker]:
        came = [self.probing.came(node, f"edge-{region}", self.now) for node in nodes]
        self.there.extend(came)
        return came

    def go(self, checker: Checker) -> None:
        self.there.remove(checker)
        self.probing.went(checker, self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass, settling four times a second as the service does."""
        for _ in range(round(seconds / 0.25)):
            self.now += 0.25
            for checker in self.there:
                if checker.node not in self.mute:
                    self.probing.heard(checker, HealthReport({}, 0), self.now)
            settled = self.probing.settle(self.now)
            self.turned += settled.turned
            for checker in settled.tell:
                specifier = hds_pb2.HealthCheckSpecifier.FromString(checker.told)
                self.intervals[checker.node] = specifier.interval.ToMilliseconds() / 1000
                self.told.setdefault(checker.node, []).append(
                    {
                        each.cluster_name: [
                            f"{one.address.socket_address.address}:{one.address.socket_address.port_value}"
                            for one in each.locality_endpoints[0].endpoints
                        ]
                        for each in specifier.cluster_health_checks
                    }
                )
            for one in settled.verdicts:
                self.verdicts[one.region, one.cluster, one.endpoint] = (
                    one.probe.consecutive_ok,
                    one.probe.consecutive_failed,
                )

    def say(self, checker: Checker, found: Mapping[str, Mapping[str, int]]) -> int:
        read = read_report(report(found), self.probing.questions(checker))
        self.probing.heard(checker, read, self.now)
        return read.refused

    def keep_saying(self, seconds: int, *words: tuple[Checker, Mapping[str, Mapping[str, int]]]) -> None:
        for _ in range(seconds):
            for checker, found in words:
                self.say(checker, found)
            self.wait(1)


def test_an_envoy_is_told_once_what_to_check_and_again_only_if_that_changes() -> None:
    edge = Edge()
    edge.come("a")
    edge.wait(5)
    assert edge.told == {"a": [{CLOUD: [FAR], ONPREM: [ONE, TWO]}]}
    assert edge.intervals["a"] == 1.0
    edge.apply(edge_policy())
    edge.wait(5)
    assert len(edge.told["a"]) == 1
    edge.apply(edge_policy([probed(ONPREM, ("10.0.0.1", 8000), path="/alive")]))
    edge.wait(5)
    assert edge.told["a"][1:] == [{ONPREM: [ONE]}]
    edge.apply(edge_policy([cluster(ONPREM, ("10.0.0.1", 8000))]))
    edge.wait(5)
    # Nothing left to check: it goes on saying so once an hour.
    assert (edge.told["a"][2:], edge.intervals["a"]) == ([{}], 3600.0)


def test_a_thousand_envoys_that_come_at_once_are_told_once() -> None:
    edge = Edge(edge_policy([probed(f"cluster-{number}", ("10.0.0.1", number)) for number in range(1, 21)]))
    edge.come(*(f"edge-{number}" for number in range(1000)))
    edge.wait(10)
    assert {len(told) for told in edge.told.values()} == {1}
    assert sum(len(told[0]) for told in edge.told.values()) == 60


def test_no_more_than_the_wanted_number_check_and_others_take_over() -> None:
    edge = Edge()
    checkers = {checker.node: checker for checker in edge.come("a", "b", "c", "d", "e")}
    edge.wait(1)
    assert edge.probing.checkers(EU, ONPREM) == 3
    assert edge.probing.checkers(US, ONPREM) == 0
    [gone, *_] = [node for node, checker in checkers.items() if ONPREM in checker.asked]
    edge.go(checkers[gone])
    edge.wait(LINGER - 1)
    assert edge.probing.checkers(EU, ONPREM) == 3
    assert len([n for n, one in checkers.items() if ONPREM in one.asked and n != gone]) == 2
    edge.wait(2)
    assert len([n for n, one in checkers.items() if ONPREM in one.asked and n != gone]) == 3


def test_one_that_comes_back_at_once_costs_nobody_else_anything() -> None:
    edge = Edge()
    first, *_ = edge.come("a", "b", "c", "d")
    edge.wait(1)
    before = {node: len(told) for node, told in edge.told.items()}
    edge.go(first)
    edge.wait(1)
    [again] = edge.come("a")
    edge.wait(10)
    assert not edge.probing.current(first)
    assert edge.probing.current(again)
    assert {node: len(told) for node, told in edge.told.items()} == {**before, "a": before["a"] + 1}


def test_most_votes_of_a_region_are_its_word() -> None:
    edge = Edge()
    eu = edge.come("a", "b", "c")
    [us] = edge.come("x", region=US)
    edge.wait(1)
    well = {ONPREM: {ONE: WELL, TWO: WELL}, CLOUD: {FAR: WELL}}
    lost = {ONPREM: {ONE: WELL, TWO: ILL}, CLOUD: {FAR: WELL}}
    edge.keep_saying(2, *((checker, well) for checker in eu), (us, well))
    edge.keep_saying(3, (eu[0], lost), (eu[1], well), (eu[2], well), (us, well))
    assert edge.verdicts[EU, ONPREM, TWO] == (2, 0)
    turned = edge.turned
    edge.keep_saying(1, (eu[0], lost), (eu[1], lost), (eu[2], well), (us, well))
    assert edge.verdicts[EU, ONPREM, TWO] == (0, 2)
    assert edge.verdicts[EU, ONPREM, ONE] == (2, 0)
    assert edge.verdicts[US, ONPREM, TWO] == (2, 0)
    assert edge.turned == turned + 1
    assert edge.probing.tallies(EU, ONPREM, edge.now)[TWO] == Tally(1, 2, edge.now - 1)
    edge.keep_saying(3, (eu[0], lost), (eu[1], lost), (eu[2], well), (us, well))
    assert edge.turned == turned + 1


def test_a_new_checker_calls_nobody_ill_before_it_can_know() -> None:
    edge = Edge()
    [only] = edge.come("a")
    edge.wait(1)
    # Two failed probes of a second each, and half a second for the last: Envoy says ill from the first moment on.
    edge.keep_saying(2, (only, {ONPREM: {ONE: ILL, TWO: WELL}}))
    assert (EU, ONPREM, ONE) not in edge.verdicts
    assert edge.verdicts[EU, ONPREM, TWO] == (2, 0)
    edge.keep_saying(2, (only, {ONPREM: {ONE: ILL, TWO: ILL}}))
    assert edge.verdicts[EU, ONPREM, ONE] == (0, 2)
    assert edge.verdicts[EU, ONPREM, TWO] == (0, 2)


def test_one_that_falls_silent_loses_its_votes_and_then_its_tasks() -> None:
    edge = Edge()
    checkers = edge.come("a", "b", "c", "d")
    edge.wait(1)
    silent, *others = [one for one in checkers if ONPREM in one.asked]
    [idle] = [one for one in checkers if ONPREM not in one.asked]
    well = {ONPREM: {ONE: WELL}}
    edge.keep_saying(2, *((one, well) for one in (silent, *others)))
    assert edge.probing.tallies(EU, ONPREM, edge.now)[ONE].live == 3
    edge.mute = {silent.node}
    edge.keep_saying(4, *((one, well) for one in others))
    assert edge.probing.tallies(EU, ONPREM, edge.now)[ONE].live == 2
    assert edge.probing.expired >= 1
    edge.wait(QUIET * 2)
    assert ONPREM in idle.asked
    assert silent.asked == {}
    assert edge.probing.benched(edge.now) >= 1
    edge.mute = set()
    edge.wait(BENCH + 2)
    assert ONPREM in silent.asked


def test_nobody_speaks_of_what_it_was_not_asked() -> None:
    edge = Edge()
    [only] = edge.come("a")
    edge.wait(1)
    assert edge.say(only, {"elsewhere": {ONE: ILL}}) == 1
    assert edge.say(only, {ONPREM: {FAR: ILL}}) == 1
    assert edge.say(only, {ONPREM: {ONE: 0}}) == 1
    # One of another region knows no better.
    [other] = edge.come("x", region="mars")
    edge.wait(1)
    assert "x" not in edge.told
    assert edge.say(other, {ONPREM: {ONE: ILL}}) == 1
    assert edge.probing.unplaced() == 1


def test_what_was_under_way_when_its_tasks_changed_is_no_offence_and_counts_for_nothing() -> None:
    edge = Edge()
    [only] = edge.come("a")
    edge.wait(1)
    edge.apply(edge_policy([probed(ONPREM, ("10.0.0.1", 8000))]))
    edge.wait(1)
    assert edge.say(only, {ONPREM: {ONE: WELL, TWO: WELL}, CLOUD: {FAR: WELL}}) == 0
    edge.wait(1)
    assert set(edge.verdicts) == {(EU, ONPREM, ONE)}


def test_an_envoy_checks_what_its_group_is_served_and_nothing_else() -> None:
    policy = edge_policy()
    vault = policy.groups[f"edge-{US}"]
    vault = vault.model_copy(update={"spec": vault.spec.model_copy(update={"listeners": ("restricted",)})})
    edge = Edge(replace(policy, groups={**policy.groups, f"edge-{US}": vault}))
    edge.come("x", region=US)
    edge.wait(2)
    # Restricted requests go by no policy here, so its Envoys can reach no cluster and know nothing of any.
    assert "x" not in edge.told
    assert edge.probing.watched() == {EU: {ONPREM, CLOUD}}


def test_an_envoy_whose_group_moves_to_another_region_votes_there() -> None:
    edge = Edge()
    [only] = edge.come("a")
    edge.wait(1)
    edge.keep_saying(3, (only, {ONPREM: {ONE: WELL}}))
    policy = edge_policy(regions=("eu-west",))
    moved = policy.groups["edge-eu-west"]
    moved = moved.model_copy(update={"spec": moved.spec.model_copy(update={"region": "eu-north"})})
    edge.apply(replace(policy, groups={"edge-eu-west": moved}))
    edge.wait(1)
    edge.keep_saying(2, (only, {ONPREM: {ONE: WELL}}))
    assert edge.verdicts["eu-north", ONPREM, ONE] == (2, 0)
    assert edge.probing.tallies(EU, ONPREM, edge.now) == {}


def test_addresses_are_the_same_however_they_are_written() -> None:
    edge = Edge(edge_policy([probed(ONPREM, ("0:0::1", 8000))]))
    [only] = edge.come("a")
    edge.wait(1)
    assert edge.say(only, {ONPREM: {"[::1]:8000": WELL}}) == 0
    edge.wait(1)
    assert set(edge.verdicts) == {(EU, ONPREM, "[0:0::1]:8000")}


def test_nobody_has_fallen_silent_while_this_process_was_away() -> None:
    edge = Edge()
    [only] = edge.come("a")
    edge.wait(1)
    edge.keep_saying(2, (only, {ONPREM: {ONE: WELL}}))
    edge.mute = {"a"}
    edge.now += 30
    edge.wait(1)
    assert edge.probing.benched(edge.now) == 0
    edge.wait(4)
    assert edge.probing.benched(edge.now) == 1
