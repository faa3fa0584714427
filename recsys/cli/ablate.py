"""`recsys ablate`: what each part of the model is worth."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from recsys.cli.terminal import ConfigOption, DatasetArgument, SetOption, console, emit, make_progress, plain
from recsys.home import Home

if TYPE_CHECKING:
    from training.ablation_runs import AblationRun
    from training.ablation_variants import Variant
    from training.config import TrainConfig

EXPERIMENT = "ablation"


def ablate(
    context: typer.Context,
    directory: DatasetArgument,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds each variant is trained with.")] = 3,
    only: Annotated[
        str | None,
        typer.Option(
            help="Groups with commas: model, loss, modality, self-supervision, ranker, calibration, labels (the "
            "curve over the share of labels)."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The Markdown file to write.")] = Path("ablation.md"),
    file: Annotated[Path | None, typer.Option("--json", help="Write the report to this file too.")] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Trains the recipe without each of its parts and writes what each is worth, to Markdown and to MLflow.

    Each variant is trained as often as there are seeds, without the refit, and asked the questions of the frozen split.
    Nothing is registered or promoted, and nothing is chosen by the table. What a run measured is kept in the home: an
    ablation that was stopped, or is asked for more groups or seeds, trains what is not there yet.

    Example: recsys ablate bank --seeds 1 --only model,loss

    Example: recsys ablate bank --only labels --out curve.md

    Example: recsys ablate bank --out ablation.md --json ablation.json
    """
    from recsys.cli.workflows import load_config, require_writable, write_file
    from training.ablation import to_markdown
    from training.plots import plot_label_curve

    recipe = load_config(config, settings or [])
    for target in (out, file):
        if target is not None:
            require_writable(target)
    with make_progress() as progress:
        report = run_ablation(context.obj, directory, recipe, (seeds, only), progress)
    curve = out.with_name(f"{out.stem}-label-curve.png")
    drawn = plot_label_curve(report, curve)
    write_file(out, to_markdown(report) + (f"\n![Label curve]({curve.name})\n" if drawn else ""))
    if file is not None:
        write_file(file, json.dumps(report, indent=1))
    written = f"{out}, {curve}" if drawn else str(out)
    emit(report, False, [plain(to_markdown(report)), f"written: {written}"])


def run_ablation(
    home: Home, directory: Path, recipe: "TrainConfig", asked: tuple[int, str | None], progress: Progress
) -> dict[str, Any]:
    """Features if stale, every variant, the report, MLflow; `asked` is seeds and groups as on the command line.

    Raises:
        RecsysError: the dataset cannot be used.
        BadParameter: a group does not exist.
    """
    from recsys.cli.workflows import build_features_and_materialise, open_dataset
    from recsys.features.spec import FeatureManifest
    from recsys.policy.registry import pack_in_force
    from training.ablation import measure, recipe_of, report_ablation, to_markdown
    from training.ablation_runs import AblationRun, AblationRuns, code_digest
    from training.ablation_variants import variants_of
    from training.tracking import Tracker
    from training.train import Training

    number, only = asked
    build_features_and_materialise(home, directory, recipe, progress)
    dataset = open_dataset(home, directory)
    variants = _chosen(variants_of(FeatureManifest.read(home.path / "features")), only)
    bar = progress.add_task("ablation", total=len(variants) * number)
    pack = pack_in_force(home.path, dataset.config.policy)  # it says what may be asked about and looked at
    context = (dataset.fingerprint(), dataset.excluded.digest, pack.model_dump_json(), code_digest())
    kept = AblationRuns(home.path / EXPERIMENT, *context)
    parts: list[str] = []

    def train(variant: "Variant", seed: int) -> "AblationRun":
        progress.update(bar, description=f"ablation: {variant.name}, seed {seed}")
        changed = recipe_of(variant, recipe, seed)

        def once() -> AblationRun:
            started = time.perf_counter()
            outcome = Training(dataset, home.path, changed, f"{EXPERIMENT}-{kept.name(changed)}").run()
            outcome.clean_up()
            return AblationRun.of(outcome.evaluation, time.perf_counter() - started)

        run, known = kept.get_or_make(changed, once)
        parts.append(run.measured_on)
        progress.advance(bar)
        spent = "kept from before" if known else f"{run.seconds:,.0f} s"
        console.print(f"[dim]{variant.name}, seed {seed}: NDCG {run.ndcg.mean():.4f}, {spent}[/dim]")
        return run

    outcomes = measure(variants, range(number), train)
    report = {"dataset": dataset.config.name, "measured_on": parts[0], **report_ablation(outcomes, recipe.evaluation)}
    tracker = Tracker(home.path)
    with tracker.run(f"{dataset.config.name}-{EXPERIMENT}", EXPERIMENT):
        tracker.log_ablation(report, to_markdown(report))
    return report


def _chosen(variants: list["Variant"], only: str | None) -> list["Variant"]:
    """The variants of the named groups, with those that they are compared with."""
    if only is None:
        return variants
    wanted = {name.strip() for name in only.split(",") if name.strip()}
    groups = {variant.group for variant in variants}
    if not wanted or wanted - groups:
        unknown = ", ".join(sorted(wanted - groups)) or "nothing"
        raise typer.BadParameter(f"--only: {unknown} is no group; there are {', '.join(sorted(groups))}")
    kept = {variant.name for variant in variants if variant.group in wanted}
    kept |= {variant.beside for variant in variants if variant.name in kept}
    return [variant for variant in variants if variant.name in kept]
