interface Ratio {
  /** Mean of actual / estimated. */
  mean: number;
  /** Mean deviation from it. */
  deviation: number;
}

/** Models whose ratio is remembered: those used longest ago are forgotten. */
const MODELS = 1024;

/** What the providers counted against what was estimated, by the model asked for. */
export class Ratios {
  readonly #byModel = new Map<string, Ratio>();

  /** What an estimate is multiplied with to be an upper bound of most calls: 0.5 to 8. `exact`: the model's own vocabulary counted. */
  factor(model: string, exact = false): number {
    const { mean, deviation } = this.#byModel.get(keyOf(model, exact)) ?? start(model, exact);
    return Math.min(8, Math.max(0.5, mean + 2 * deviation));
  }

  /** The input tokens to ask for. */
  input(model: string, estimate: number, exact = false): number {
    return Math.ceil(estimate * this.factor(model, exact));
  }

  /** Learns from a call of text only, both in tokens; an estimate below 50 tells nothing. */
  learn(model: string, estimate: number, actual: number, exact = false): void {
    if (estimate < 50) return;
    const key = keyOf(model, exact);
    const ratio = this.#byModel.get(key) ?? start(model, exact);
    const x = actual / estimate;
    ratio.deviation += (Math.abs(x - ratio.mean) - ratio.deviation) / 8;
    ratio.mean += (x - ratio.mean) / 8;
    this.#byModel.delete(key);
    this.#byModel.set(key, ratio);
    if (this.#byModel.size > MODELS) {
      for (const oldest of this.#byModel.keys()) {
        this.#byModel.delete(oldest);
        break;
      }
    }
  }
}

/** What is counted and what is estimated are off by different ratios. */
function keyOf(model: string, exact: boolean): string {
  return exact ? `${model}\0` : model;
}

/** Claude's vocabularies give about 30 % more tokens than OpenAI's. */
function start(model: string, exact: boolean): Ratio {
  return { mean: model.startsWith("claude") ? 1.3 : 1, deviation: exact ? 0.02 : 0.1 };
}
