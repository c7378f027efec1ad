#!/usr/bin/env node
// @ts-check
// Starts everything: `shoal`, and the npm scripts. Plain JavaScript that an older Node can run, because its first job is
// to find or fetch the Node that the rest needs.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import module from 'node:module'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import {
  compiledDir,
  installDependencies,
  installTools,
  missingTools,
  nodeFits,
  privateNode,
  staleDependencies,
} from './prepare.mjs'

const here = dirname(fileURLToPath(import.meta.url))
// In a checkout this file lies in src/cli, in a published package in dist/src/cli; there is nothing to install then.
const root = [join(here, '../..'), join(here, '../../..')].find((dir) => existsSync(join(dir, 'package.json')))
const inCheckout = existsSync(join(here, 'main.ts'))
const extension = inCheckout ? 'ts' : 'js'

const tasks = ['demo', 'test', 'check', 'bench', 'build', 'generate', 'oracle', 'crash', 'fuzz', 'sim']
const args = process.argv.slice(2)
const task = args[0] === '--as' ? args[1] : undefined

/** @param {string} text */
const say = (text) => process.stderr.write(`shoal: ${text}\n`)

if (args[0] === '--as' && (task === undefined || !tasks.includes(task))) {
  say(`--as takes one of ${tasks.join(', ')}`)
  process.exit(2)
}

if (root !== undefined && inCheckout) {
  // Tools of development are only asked for by the tasks that use them.
  const stale = staleDependencies(root, { development: task !== undefined && task !== 'demo' })
  if (stale !== undefined && process.env.SHOAL_LAUNCHED === undefined) {
    say(`${stale}: running npm ci (about a minute)`)
    const code = await installDependencies(root)
    if (code !== 0) {
      say(`npm ci ended with ${code}; run it by hand in ${root}`)
      process.exit(1)
    }
  }
}

if (nodeFits(process.versions.node)) {
  await begin()
} else {
  const node = root === undefined ? undefined : privateNode(root)
  if (node === undefined || process.env.SHOAL_LAUNCHED !== undefined) {
    say(`Node.js 24.9 or newer is needed, this is ${process.versions.node}`)
    process.exit(1)
  }
  restart(node)
}

async function begin() {
  // Said to this process alone; what it starts decides for itself.
  delete process.env.SHOAL_LAUNCHED
  if (task === 'demo' || task === 'test') {
    const missing = missingTools(process.env.PATH ?? '', process.platform)
    if (missing.length > 0) await installTools(missing, say)
  }
  if (task === undefined || task === 'demo') {
    const command = task === undefined ? args : ['demo', ...args.slice(2)]
    process.argv.splice(2, process.argv.length, ...command)
    await keepCompiled()
    await import(pathToFileURL(join(here, `main.${extension}`)).href)
  } else {
    process.argv.splice(2, process.argv.length, ...args.slice(2))
    await import(pathToFileURL(join(here, 'dev', `${task}.${extension}`)).href)
  }
}

/** From a checkout a command takes 420 ms of processor time, and 170 where Node finds what it has compiled before; published, 180 either way. */
async function keepCompiled() {
  const { shoalPaths } = await import(pathToFileURL(join(here, `../base/paths.${extension}`)).href)
  const dir = compiledDir(resolve(shoalPaths(process.env, homedir()).cache))
  if (dir !== undefined) module.enableCompileCache(dir)
}

/** @param {string} node */
function restart(node) {
  const self = fileURLToPath(import.meta.url)
  // The right Node comes first for everything that is started from here on; npm's own scripts do the same.
  const env = { ...process.env, SHOAL_LAUNCHED: '1', PATH: `${dirname(node)}:${process.env.PATH ?? ''}` }
  const child = spawn(node, [self, ...args], { stdio: 'inherit', env })
  // Ctrl-C reaches the child by itself, as a member of the terminal's foreground group; this process only waits.
  process.on('SIGINT', () => undefined)
  for (const name of /** @type {const} */ (['SIGTERM', 'SIGHUP'])) process.on(name, () => child.kill(name))
  child.on('error', (error) => {
    say(`${node} cannot be started: ${error.message}`)
    process.exit(1)
  })
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  })
}
