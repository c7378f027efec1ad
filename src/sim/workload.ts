import type { Random } from '../base/clock.ts'
import { normal } from './random.ts'

/** One unit of a synthetic build. */
export interface SimUnit {
  index: number
  /** What it takes on the reference machine. */
  ms: number
  /** What the market is told; off by a factor, as predictions are. */
  expectedMs: number
  /** Expected time from its start to the end of the build. */
  rank: number
  dependencies: readonly number[]
  dependents: number[]
}

export interface WorkloadInit {
  units: number
  random: Random
  /** Standard deviation of the logarithm of the predictions' error. */
  errorSigma: number
}

const medianMs = 400
const sigma = 1.4
const shortestMs = 50
const longestMs = 60_000

/**
 * A layered graph: wide at the bottom as crates without dependencies are, narrow towards the binary. Durations are
 * log-normal with a median of 0.4 s, between 50 ms and 60 s; a unit is ready when its dependencies have ended.
 */
export function layeredGraph({ units, random, errorSigma }: WorkloadInit): SimUnit[] {
  const graph: SimUnit[] = []
  let layer: number[] = []
  let below: number[] = []
  let width = Math.max(1, Math.ceil(units / 4))
  for (let index = 0; index < units; index++) {
    if (layer.length >= width) {
      below = layer
      layer = []
      width = Math.max(1, Math.ceil(width * 0.75))
    }
    const dependencies = index === units - 1 ? unfinished(graph) : pickSome(below, random)
    const ms = clamp(medianMs * Math.exp(sigma * normal(random)))
    const expectedMs = clamp(ms * Math.exp(errorSigma * normal(random)))
    graph.push({ index, ms, expectedMs, rank: 0, dependencies, dependents: [] })
    for (const dependency of dependencies) graph[dependency]?.dependents.push(index)
    layer.push(index)
  }
  // Dependents have higher indices than what they depend on.
  for (const unit of graph.toReversed()) unit.rank = unit.expectedMs + longest(unit, graph, ({ rank }) => rank)
  return graph
}

/** Length of the longest chain of units, on the reference machine. */
export function criticalPathMs(graph: readonly SimUnit[]): number {
  const lengths: number[] = []
  for (const unit of graph.toReversed()) {
    lengths[unit.index] = unit.ms + longest(unit, graph, ({ index }) => lengths[index] ?? 0)
  }
  return lengths.reduce((a, b) => Math.max(a, b), 0)
}

export function workMs(graph: readonly SimUnit[]): number {
  return graph.reduce((sum, unit) => sum + unit.ms, 0)
}

function longest(unit: SimUnit, graph: readonly SimUnit[], of: (dependent: SimUnit) => number): number {
  let most = 0
  for (const index of unit.dependents) {
    const dependent = graph[index]
    if (dependent) most = Math.max(most, of(dependent))
  }
  return most
}

function unfinished(graph: readonly SimUnit[]): number[] {
  return graph.filter((unit) => unit.dependents.length === 0).map((unit) => unit.index)
}

function pickSome(from: readonly number[], random: Random): number[] {
  if (from.length === 0) return []
  const count = 1 + Math.floor(random() * 3)
  const picked = Array.from({ length: count }, () => from[Math.floor(random() * from.length)])
  return [...new Set(picked)].filter((index) => index !== undefined)
}

function clamp(ms: number): number {
  return Math.min(longestMs, Math.max(shortestMs, ms))
}
