import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { readConfig } from '../../src/base/config.ts'
import type { ShoalError } from '../../src/base/errors.ts'
import { shoalPaths } from '../../src/base/paths.ts'
import { type CommandNeeds, runCommand } from '../../src/daemon/commands.ts'
import { setUp } from '../../src/daemon/setup.ts'
import { temporaryDirectory } from '../mesh/fixture.ts'

const person = { tell: () => undefined, agrees: async () => true }

/** What a parser says of itself, and nobody else. */
const foreign = /expected|received|invalid|too (small|big)|unrecognized|\bstring\b|undefined|object/i

const wrong = [
  ['rename', { name: '' }, 'the name is empty'],
  ['rename', { name: ' \t' }, 'the name is empty'],
  ['rename', {}, 'the name is missing'],
  ['rename', { name: 7 }, 'the name is no text'],
  ['rename', { name: 'ä'.repeat(33) }, 'the name is longer than 64 bytes'],
  ['rename', { name: 'an\u202ena' }, 'the name is one with characters that cannot be shown'],
  ['kick', { member: '' }, 'the member is empty'],
  ['kick', { member: 'x'.repeat(129) }, 'the member is longer than 128 characters'],
  ['promote', { member: 'bert', role: 'king' }, 'the role is none of member, ci, inviter, admin'],
  ['invite', { role: 1 }, 'the role is none of member, ci, inviter, admin'],
  ['approve', { code: '1'.repeat(65) }, 'the code is longer than 64 characters'],
  ['purge', { by: '' }, 'the member is empty'],
  ['pause', { ms: 0 }, 'the time is less than 1'],
  ['cache-gc', { toBytes: 0.5 }, 'the size is no whole number'],
  ['rename', 'anna', 'the request is not understood'],
] as const

test('what is wrong with a request is said in words for whoever has typed it', async () => {
  const needs: unknown = { membership: {}, cache: {}, owner: {} }
  for (const [method, params, message] of wrong) {
    const asked = runCommand(method, params, needs as CommandNeeds)
    await assert.rejects(asked, (error: ShoalError) => {
      assert.deepEqual([error.code, error.message], ['ERR_USAGE', message])
      assert.doesNotMatch(error.message + error.hint, foreign)
      return true
    })
  }
})

test('what is wrong with setting up is, too, and nothing is written', async (t) => {
  const home = await temporaryDirectory(t)
  const paths = shoalPaths({ SHOAL_HOME: join(home, 'new') }, home)
  for (const [request, message] of [
    [{ action: 'init', name: '' }, 'the name is empty'],
    [{ action: 'init', meshName: 'x'.repeat(65) }, 'the name of the mesh is longer than 64 bytes'],
    [{ action: 'join', name: '\u200b' }, 'the name is one with characters that cannot be shown'],
    [{ action: 'join', mesh: '' }, 'the mesh is empty'],
    [{ action: 'recover' }, 'the recovery phrase is missing'],
    [{ action: 'dance' }, 'action is not understood'],
  ] as const) {
    await assert.rejects(setUp(request, paths, {}, person), { code: 'ERR_USAGE', message })
  }
})

test('config.toml is corrected in the same words', async (t) => {
  const file = join(await temporaryDirectory(t), 'config.toml')
  for (const [toml, message] of [
    ['slots = 0', 'slots: less than 1'],
    ['name = ""', 'name: empty'],
    ['[mesh]\nport = "any"', 'mesh.port: no number'],
    ['[mesh]\nmdns = 1', 'mesh.mdns: neither true nor false'],
    ['log = "loud"', 'log: none of debug, info, warn, error, silent'],
    ['[lend]\nslot = 1', 'lend: of a newer version, or misspelt: slot'],
    ['[trust]\npolicy = "any"', 'trust.policy: own, strict, team, ci or quorum:2 to quorum:16'],
  ] as const) {
    await writeFile(file, toml)
    await assert.rejects(readConfig(file), { code: 'ERR_CONFIG', message: `${file}: ${message}` })
  }
})
