import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseRustcArgs } from '../../src/plan/rustc-args.ts'
import {
  allows,
  allowsRun,
  answersWanted,
  mayAskOthers,
  mayTakeRuns,
  policiesOf,
  readPolicy,
  takesAnyWord,
  type Witness,
} from '../../src/recall/policy.ts'
import { content, planned } from './support.ts'

const who = (person: string, change: Partial<Witness> = {}): Witness => ({
  people: new Set([person]),
  name: person,
  isCi: false,
  isSelf: false,
  ...change,
})
const policy = (text: string) => {
  const read = readPolicy(text)
  assert.ok(read !== undefined, text)
  return read
}

test('policies are written one way', () => {
  for (const text of ['own', 'strict', 'team', 'ci', 'quorum:2', 'quorum:16']) assert.ok(readPolicy(text), text)
  for (const text of ['', 'Own', 'quorum', 'quorum:1', 'quorum:17', 'quorum:02', 'quorum:2 ', 'all', 'team\n'])
    assert.equal(readPolicy(text), undefined, text)
})

test('each policy takes the word of those that it names', () => {
  const two = [who('ann'), who('bob')]
  const machine = who('ci', { isCi: true })
  const self = who('me', { isSelf: true })
  const table: [string, Parameters<typeof allows>[1], Witness[], boolean][] = [
    ['team', 'proc-macro', [who('ann')], true],
    ['team', 'lib', [], false],
    ['strict', 'lib', [who('ann')], true],
    ['strict', 'bin', [who('ann')], true],
    ['strict', 'proc-macro', two, false],
    ['strict', 'build-script', [machine], false],
    ['ci', 'lib', two, false],
    ['ci', 'build-script', [machine], true],
    ['quorum:2', 'lib', [who('ann')], false],
    ['quorum:2', 'lib', [who('ann'), who('ann')], false],
    ['quorum:2', 'lib', two, true],
    ['quorum:3', 'lib', two, false],
    ['own', 'lib', [...two, machine], false],
    ['own', 'proc-macro', [self], true],
    ['quorum:3', 'build-script', [self], true],
    ['strict', 'build-script', [self], true],
  ]
  for (const [text, kind, witnesses, expected] of table) {
    assert.equal(allows([policy(text)], kind, witnesses), expected, `${text} ${kind} ${witnesses.length}`)
  }
})

test('what a build script did is taken on the word of two, or of the machine of all, and never of one', () => {
  const two = [who('ann'), who('bob')]
  const machine = who('ci', { isCi: true })
  const table: [policies: string[], witnesses: Witness[], expected: boolean][] = [
    [['team'], two, true],
    [['team'], [who('ann')], false],
    [['team'], [machine], true],
    [[], two, false],
    [['strict'], [...two, machine], false],
    [['own'], [...two, machine], false],
    [['quorum:2'], [who('ann')], false],
    [['quorum:2'], two, true],
    [['quorum:3'], two, false],
    [['ci'], two, false],
    [['ci'], [machine], true],
    [['team', 'quorum:2'], two, true],
    [['team', 'quorum:2'], [machine], false],
    [['strict', 'quorum:2'], two, false],
    [['own', 'ci'], [machine], false],
    [['own'], [who('me', { isSelf: true })], false],
  ]
  for (const [policies, witnesses, expected] of table) {
    const all = policies.map(policy)
    assert.equal(allowsRun(all, witnesses), expected, `${policies} ${witnesses.length}`)
    if (expected) assert.equal(mayTakeRuns(all), true)
  }
})

test('what is a verdict alone is taken from two, or from the machine of all', () => {
  const isAsked = (args: string, driver: typeof planned.action.driver = null): boolean => {
    const unit = { ...planned, args: parseRustcArgs(args.split(' ')), action: { ...planned.action, driver } }
    return policiesOf([policy('team')], unit).length > 1
  }
  const check = '--crate-name x --emit=dep-info,metadata'
  const table: [string, boolean][] = [
    [`${check} -D warnings`, true],
    [`${check} -Fwarnings`, true],
    [`${check} --deny=warnings`, true],
    [`${check} --forbid warnings`, true],
    [check, false],
    [`${check} --warn=warnings`, false],
    // Whatever builds it says that as well.
    [`${check} --deny=unsafe_code`, false],
    [`${check},link -D warnings`, false],
    // Of what is somebody else's all lints are off.
    [`${check} --cap-lints allow -D warnings`, false],
  ]
  for (const [args, expected] of table) assert.equal(isAsked(args), expected, args)
  assert.equal(isAsked(check, content('clippy-driver')), true)
  const vouched = [policy('team'), { kind: 'vouched' as const }]
  const two = [who('ann'), who('bob')]
  for (const [witnesses, expected] of [
    [[who('ann')], false],
    [[who('ann'), who('ann')], false],
    [two, true],
    [[who('ci', { isCi: true })], true],
    [[who('me', { isSelf: true })], true],
  ] as const)
    assert.equal(allows(vouched, 'lib', witnesses), expected)
  assert.equal(allows([policy('quorum:3'), ...vouched], 'lib', two), false)
  assert.deepEqual(
    [takesAnyWord(vouched, 'lib'), mayAskOthers(vouched, 'lib'), answersWanted(vouched)],
    [false, true, Number.POSITIVE_INFINITY],
  )
})

test('two machines of one name are one person, as after a new key', () => {
  const [old, fresh] = [who('a', { name: 'ann' }), who('b', { name: 'ann' })]
  assert.equal(allows([policy('quorum:2')], 'lib', [old, fresh]), false)
})

test('of two policies none makes the other less strict', () => {
  const machine = who('ci', { isCi: true })
  const both = [policy('ci'), policy('quorum:2')]
  assert.equal(allows(both, 'lib', [machine]), false)
  assert.equal(allows(both, 'lib', [who('ann'), who('bob')]), false)
  assert.equal(allows(both, 'lib', [machine, who('bob')]), true)
  assert.equal(answersWanted(both), Number.POSITIVE_INFINITY)
  assert.equal(allows([policy('team'), policy('own')], 'lib', [machine]), false)
})

test('what one word is not enough for is not lent out, and nobody is asked in vain', () => {
  const table: [string, boolean, boolean, boolean, boolean][] = [
    ['team', true, true, true, true],
    ['strict', true, false, true, false],
    ['ci', false, false, true, true],
    ['quorum:2', false, false, true, true],
    ['own', false, false, false, false],
  ]
  for (const [text, lib, macro, askLib, askMacro] of table) {
    const policies = [policy('team'), policy(text)]
    assert.equal(takesAnyWord(policies, 'lib'), lib, text)
    assert.equal(takesAnyWord(policies, 'proc-macro'), macro, text)
    assert.equal(mayAskOthers(policies, 'lib'), askLib, text)
    assert.equal(mayAskOthers(policies, 'proc-macro'), askMacro, text)
  }
})
