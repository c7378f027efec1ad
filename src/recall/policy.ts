import { isPolicyName } from '../base/config.ts'
import { isVerdict, runsOnHost, type UnitKind } from '../plan/classify.ts'
import type { PlannedAction } from '../plan/plan.ts'

/**
 * Whose results are used.
 *
 * - `own`: nobody else's
 * - `quorum`: what so many different people have computed alike
 * - `ci`: what a member with the role ci has computed
 * - `strict`: any member's, but nothing that runs on this machine during a build
 * - `team`: any member's
 * - `vouched`: what a member with the role ci has computed, or two different people alike. Not to be asked for: see `policiesOf`
 */
export type Policy =
  | { kind: 'own' }
  | { kind: 'quorum'; people: number }
  | { kind: 'ci' }
  | { kind: 'strict' }
  | { kind: 'team' }
  | { kind: 'vouched' }

/** `own`, `strict`, `team`, `ci` or `quorum:K`, with K from 2 to 16; undefined for anything else. */
export function readPolicy(text: string): Policy | undefined {
  if (!isPolicyName(text)) return undefined
  if (text === 'own' || text === 'strict' || text === 'team' || text === 'ci') return { kind: text }
  return { kind: 'quorum', people: Number(text.slice('quorum:'.length)) }
}

/** A member whose word on a result counts. */
export interface Witness {
  /** Who may be behind it; machines that have one of these in common may be one person's. */
  readonly people: ReadonlySet<string>
  /** What it is called in the mesh. */
  name: string
  isCi: boolean
  /** This node itself. */
  isSelf: boolean
}

/**
 * What one unit asks for, of a build that asks for `policies`: one member alone has nobody told that lints find nothing. Of two who say
 * so one is right, so that nothing was found that fails the build.
 */
export const policiesOf = (
  policies: readonly Policy[],
  { args, action }: Pick<PlannedAction, 'args' | 'action'>,
): readonly Policy[] => (isVerdict(args, action.driver !== null) ? [...policies, { kind: 'vouched' }] : policies)

/** Whether every one of these policies has a result of a unit used, given who says the same of it. */
export function allows(policies: readonly Policy[], kind: UnitKind, witnesses: readonly Witness[]): boolean {
  if (witnesses.some(({ isSelf }) => isSelf)) return true
  return witnesses.length > 0 && policies.every((policy) => allowsOne(policy, kind, witnesses))
}

/**
 * How many different people there are at least: so many have nobody in common who could be behind two of them, and no name, which a machine
 * that was given another key keeps.
 */
function peopleAmong(witnesses: readonly Witness[]): number {
  const taken = new Set<string>()
  let count = 0
  // The least doubtful first: they leave the most room for others.
  for (const { people, name } of witnesses.toSorted((a, b) => a.people.size - b.people.size)) {
    const names = [...people, `called ${name}`]
    if (names.some((one) => taken.has(one))) continue
    for (const one of names) taken.add(one)
    count += 1
  }
  return count
}

/** So many people have to say of what is a verdict alone that it is so. */
const vouchers = 2

function allowsOne(policy: Policy, kind: UnitKind, witnesses: readonly Witness[]): boolean {
  switch (policy.kind) {
    case 'own':
      return false
    case 'quorum':
      return peopleAmong(witnesses) >= policy.people
    case 'ci':
      return witnesses.some(({ isCi }) => isCi)
    case 'strict':
      return !runsOnHost(kind)
    case 'team':
      return true
    case 'vouched':
      return witnesses.some(({ isCi }) => isCi) || peopleAmong(witnesses) >= vouchers
    default:
      return policy satisfies never
  }
}

/** Whether others can have anything that would be used. */
export const mayAskOthers = (policies: readonly Policy[], kind: UnitKind): boolean =>
  policies.every(({ kind: policy }) => policy !== 'own' && (policy !== 'strict' || !runsOnHost(kind)))

/** Whether others can have seen a build script do something that would be done here on their word. */
export const mayTakeRuns = (policies: readonly Policy[]): boolean =>
  policies.length > 0 && mayAskOthers(policies, 'build-script')

/**
 * What runs of build scripts ask for, of a build that asks for `policies`: not the word of one member alone, whoever it is, because nobody can try what
 * a script does before it was used.
 */
export const policiesOfRuns = (policies: readonly Policy[]): readonly Policy[] =>
  policies.map((policy) => (policy.kind === 'team' ? { kind: 'vouched' } : policy))

/** Whether every one of these policies has what a build script did elsewhere done here, given who says the same of it. */
export function allowsRun(policies: readonly Policy[], witnesses: readonly Witness[]): boolean {
  return mayTakeRuns(policies) && allows(policiesOfRuns(policies), 'build-script', witnesses)
}

/** Whether a member's word counts on a script doing in one place what it does in another. */
export const mayVouchForPlaces = (policies: readonly Policy[], { isCi, isSelf }: Witness): boolean =>
  isSelf || isCi || policies.every(({ kind }) => kind !== 'ci')

/** Whether any member's word is enough: then nothing need be looked up for what was accepted before and is kept here. */
export const takesAnyWord = (policies: readonly Policy[], kind: UnitKind): boolean =>
  policies.every(({ kind: policy }) => policy === 'team' || (policy === 'strict' && !runsOnHost(kind)))

/** Whether those who say the same have to have rustc say the same, too. */
export const asksWhatIsSaid = (policies: readonly Policy[]): boolean => policies.some(({ kind }) => kind === 'vouched')

/** How many answers it is worth waiting for: where one is not enough all, because each may be about other sources. */
export const answersWanted = (policies: readonly Policy[]): number =>
  policies.some(({ kind }) => kind === 'quorum' || kind === 'vouched') ? Number.POSITIVE_INFINITY : 1
