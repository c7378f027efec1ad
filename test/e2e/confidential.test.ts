import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { writeFiles } from '../support/busy.ts'
import { Cluster, capture, lastReport, type TestNode, type UnitRow } from '../support/cluster.ts'

const manifest = (name: string, rest = ''): string =>
  `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n${rest}`
const onItself = '[package.metadata.shoal]\nprivate = true\n'
const uses = (...names: string[]): string =>
  `[dependencies]\n${names.map((name) => `${name} = { path = "../${name}" }\n`).join('')}`

/** A canary in the names under which people keep secrets. */
const names = [
  ...[
    'AWS_SECRET_ACCESS_KEY',
    'AWS_SESSION_TOKEN',
    'AZURE_CLIENT_SECRET',
    'GOOGLE_APPLICATION_CREDENTIALS',
    'GITHUB_TOKEN',
  ],
  ...['GH_TOKEN', 'GITLAB_TOKEN', 'CI_JOB_TOKEN', 'NPM_TOKEN', 'NODE_AUTH_TOKEN', 'CARGO_REGISTRY_TOKEN', 'PYPI_TOKEN'],
  ...['CARGO_REGISTRIES_COMPANY_TOKEN', 'DATABASE_URL', 'PGPASSWORD', 'MYSQL_PWD', 'REDIS_PASSWORD', 'MONGO_PASSWD'],
  ...[
    'ADMIN_PASSPHRASE',
    'SSH_AUTH_SOCK',
    'KUBECONFIG',
    'DOCKER_AUTH_CONFIG',
    'SENTRY_DSN',
    'SLACK_WEBHOOK_URL',
    'STRIPE_API_KEY',
  ],
  ...[
    'OPENAI_API_KEY',
    'SIGNING_KEY',
    'GPG_PRIVATE_KEY',
    'JWT_SECRET',
    'SESSION_COOKIE',
    'OAUTH_CLIENT',
    'VAULT_TOKEN',
  ],
  ...['HEROKU_API_KEY', 'TWILIO_AUTH', 'APP_CONNECTION_STRING', 'NETRC', 'MY_PAT', 'BEARER', 'PROXY', 'PLAIN'],
]

describe('what must stay here', () => {
  const canary = `canary${randomBytes(12).toString('hex')}`
  /** In no variable. */
  const keys = `keys${randomBytes(12).toString('hex')}`
  const tap = fileURLToPath(new URL('../support/tap.mjs', import.meta.url))
  let cluster: Cluster
  let ada: TestNode

  before(async () => {
    const daemonEnv = (name: string, dir: string): NodeJS.ProcessEnv => ({
      NODE_OPTIONS: `--import=${tap}`,
      SHOAL_TEST_TAP: join(dir, `${name}.tap`),
      ...secrets(name === 'ada'),
    })
    cluster = await Cluster.start(['ada', 'ben'], () => '', daemonEnv)
    ada = cluster.node('ada')
    await untilLent()
  })
  after(() => cluster.close())

  /** Those of which the name tells nothing hold an address with a password, and one is only the same as another. */
  function secrets(are: boolean): NodeJS.ProcessEnv {
    const value = (name: string): string => (name === 'PROXY' ? `http://me:${canary}@proxy:3128/` : canary)
    return are ? Object.fromEntries(names.map((name) => [name, value(name)])) : {}
  }

  const sent = async (name: string): Promise<Buffer> => await readFile(join(cluster.dir, `${name}.tap`))

  async function cargo(dir: string, env: NodeJS.ProcessEnv = {}): Promise<Map<string, UnitRow>> {
    const ran = await capture('cargo', ['build', '--offline', '-j8'], {
      cwd: dir,
      env: { ...(await ada.cargoEnv()), ...env },
    })
    assert.equal(ran.code, 0, ran.stderr)
    const { units } = await lastReport(ada)
    return new Map(units.map((unit) => [unit.crate, unit]))
  }

  let rounds = 0

  /** Ben has tried his sandbox by then, and has said so. */
  async function untilLent(): Promise<void> {
    const dir = join(cluster.dir, 'any')
    const crates = Array.from({ length: 8 }, (_, n) => `any${n}`)
    for (let tries = 0; tries < 40; tries++, rounds++) {
      await writeFiles(dir, {
        'Cargo.toml': `[workspace]\nresolver = "2"\nmembers = [${crates.map((name) => `"${name}"`)}]\n`,
        ...Object.fromEntries(crates.map((name) => [`${name}/Cargo.toml`, manifest(name)])),
        ...Object.fromEntries(crates.map((name) => [`${name}/src/lib.rs`, `pub const N: u32 = ${rounds};\n`])),
      })
      await rm(join(dir, 'target'), { recursive: true, force: true })
      if ([...(await cargo(dir)).values()].some(({ outcome }) => outcome === 'compiled-mesh')) return
    }
    throw new Error(`nothing is lent: ${cluster.node('ben').log}`)
  }

  /**
   * Some of these packages are lent by now. A busy machine may keep all of a build's short units, and a lender that was found slow gets
   * nothing for half a minute: then they are changed and built again.
   */
  async function someLent(dir: string, packages: string[], env: NodeJS.ProcessEnv = {}): Promise<void> {
    const until = Date.now() + 120_000
    while (Date.now() < until) {
      for (const name of packages) await writeFile(join(dir, name, 'src/lib.rs'), `// ${Date.now()}\n`, { flag: 'a' })
      const units = await cargo(dir, env)
      if (packages.some((name) => units.get(name)?.outcome === 'compiled-mesh')) return
      await delay(500)
    }
    throw new Error(`none is lent: ${ada.log.slice(-2000)}`)
  }

  /** Sha2-256 of what lies in a target directory, by which others would ask for it. */
  async function digestsOf(dir: string, crate: string): Promise<Buffer[]> {
    const listed = await capture('sh', ['-c', `sha256sum ${dir}/target/debug/deps/lib${crate}-*`])
    return listed.stdout
      .split('\n')
      .flatMap((line) => (/^[0-9a-f]{64}/.test(line) ? [Buffer.from(line.slice(0, 64), 'hex')] : []))
  }

  test('secrets in variables and arguments stay, whoever set them; the rest is lent', async () => {
    const dir = join(cluster.dir, 'secrets')
    const told = names.map((name) => `option_env!("${name}")`).join(', ')
    const open = Array.from({ length: 8 }, (_, n) => `open${n}`)
    await writeFiles(dir, {
      'Cargo.toml': `[workspace]\nresolver = "2"\nmembers = ["reads", "after", "given", "flagged", "written", "asks", "keyed", "app", ${open.map((name) => `"${name}"`)}]\n`,
      ...Object.fromEntries(
        open.flatMap((name) => [
          [`${name}/Cargo.toml`, manifest(name)],
          [`${name}/src/lib.rs`, `pub fn ${name}_is_lent() {}\n${'pub fn f() -> Vec<String> { vec![] }\n'}`],
        ]),
      ),
      'reads/Cargo.toml': manifest('reads'),
      'reads/src/lib.rs': `pub const ALL: &[Option<&str>] = &[${told}];\n`,
      // What it was told is in the library, and a lender would be given that.
      'after/Cargo.toml': manifest('after', uses('reads')),
      'after/src/lib.rs': 'pub fn count() -> usize { reads::ALL.len() }\n',
      'given/Cargo.toml': manifest('given'),
      // What is called harmlessly and holds what another one holds.
      'given/build.rs':
        'fn main() { println!("cargo::rustc-env=BUILD_INFO=by {}", std::env::var("GITHUB_TOKEN").unwrap()); }\n',
      'given/src/lib.rs': 'pub const INFO: &str = env!("BUILD_INFO");\n',
      'written/Cargo.toml': manifest('written'),
      'written/build.rs': `fn main() {
        let file = format!("{}/made.rs", std::env::var("OUT_DIR").unwrap());
        std::fs::write(file, format!("pub const MADE: &str = {:?};", std::env::var("GITHUB_TOKEN").unwrap())).unwrap();
      }\n`,
      'written/src/lib.rs': 'include!(concat!(env!("OUT_DIR"), "/made.rs"));\n',
      'asks/Cargo.toml': manifest('asks'),
      'asks/src/lib.rs': 'pub const PASSWORD: Option<&str> = option_env!("DEPLOY_PASSWORD");\n',
      // A key that only its build script reads.
      'keyed/Cargo.toml': manifest('keyed'),
      'keyed/tls/server.key': `${keys}\n`,
      'keyed/build.rs': `fn main() {
        println!("cargo::rerun-if-changed=tls/server.key");
        let key = std::fs::read_to_string("tls/server.key").unwrap();
        let file = format!("{}/made.rs", std::env::var("OUT_DIR").unwrap());
        std::fs::write(file, format!("pub const KEY: &str = {key:?};")).unwrap();
      }\n`,
      'keyed/src/lib.rs': 'include!(concat!(env!("OUT_DIR"), "/made.rs"));\n',
      'flagged/Cargo.toml': manifest('flagged'),
      'flagged/build.rs': `fn main() {
        println!("cargo::rustc-cfg=api_token=\\"{}\\"", std::env::var("PLAIN").unwrap());
        println!("cargo::rustc-link-search=native=/nowhere/https://me:{}@host/", std::env::var("PLAIN").unwrap());
      }\n`,
      'flagged/src/lib.rs': '#![allow(unexpected_cfgs)] pub fn f() {}\n',
      'app/Cargo.toml': manifest(
        'app',
        uses('reads', 'after', 'given', 'flagged', 'written', 'asks', 'keyed', ...open),
      ),
      'app/src/main.rs': 'fn main() { println!("{:?} {} {}", reads::ALL, after::count(), given::INFO); }\n',
    })
    const units = await cargo(dir, secrets(true))
    const kept = ['reads', 'after', 'given', 'flagged', 'written', 'keyed'].map((name) => [
      name,
      units.get(name)?.outcome,
      units.get(name)?.reason,
    ])
    assert.deepEqual(kept, [
      ['reads', 'compiled-here', 'secret-in-environment'],
      ['after', 'compiled-here', 'private'],
      ['given', 'passed-through', 'secret-in-environment'],
      ['flagged', 'passed-through', 'secret-in-environment'],
      ['written', 'compiled-here', 'private'],
      ['keyed', 'compiled-here', 'private'],
    ])
    const isLent = (name: string): boolean => units.get(name)?.outcome === 'compiled-mesh'
    if (!open.some(isLent)) await someLent(dir, open, secrets(true))
    const warnings = ada.log
      .split('\n')
      .filter((line) => line.includes('looks like a secret') && line.includes('given'))
    assert.equal(warnings.length, 1)

    // The same by cargo's own configuration and flags. What does not ask for it has nothing to do with it.
    await rm(join(dir, 'target'), { recursive: true })
    await writeFiles(dir, { '.cargo/config.toml': `[env]\nDEPLOY_PASSWORD = "${canary}"\n` })
    const configured = await cargo(dir, secrets(true))
    assert.equal(configured.get('asks')?.reason, 'secret-in-environment')
    for (const name of open) assert.equal(configured.get(name)?.outcome, 'recalled-here', name)
    await rm(join(dir, '.cargo'), { recursive: true })
    await cargo(dir, {
      ...secrets(true),
      RUSTFLAGS: `--cfg deploy_secret="${canary}" -L /tmp/https://me:${canary}@host/`,
    })

    const bytes = await sent('ada')
    assert.ok(bytes.includes('is_lent'), 'the tap sees what is sent')
    for (const secret of [canary, keys]) {
      assert.ok(!bytes.includes(secret))
      assert.ok(!(await sent('ben')).includes(secret))
    }
  })

  test('private packages and what is made from them stay; the rest of their workspace is lent', async () => {
    const dir = join(cluster.dir, 'some')
    const open = Array.from({ length: 16 }, (_, n) => `free${n}`)
    await writeFiles(dir, {
      'Cargo.toml': `[workspace]\nresolver = "2"\nmembers = ["hidden", "through", "listed", "peeks", "generates", "app", ${open.map((name) => `"${name}"`)}]\n`,
      ...Object.fromEntries(
        open.flatMap((name) => [
          [`${name}/Cargo.toml`, manifest(name)],
          [`${name}/src/lib.rs`, `pub fn ${name}_is_free() {}\n`],
        ]),
      ),
      'hidden/Cargo.toml': manifest('hidden', onItself),
      'hidden/src/lib.rs': 'pub fn confidential_formula() -> u32 { 42 }\n',
      'through/Cargo.toml': manifest('through', uses('hidden')),
      'through/src/lib.rs': 'pub fn confidential_through() -> u32 { hidden::confidential_formula() }\n',
      'listed/Cargo.toml': manifest('listed'),
      'listed/src/lib.rs': 'pub fn confidential_listed() {}\n',
      'peeks/Cargo.toml': manifest('peeks'),
      'peeks/src/lib.rs': 'pub const LOOKED: &str = include_str!("../../hidden/src/lib.rs");\n',
      'generates/Cargo.toml': manifest('generates', '[build-dependencies]\nhidden = { path = "../hidden" }\n'),
      'generates/build.rs': `fn main() {
        let dir = std::env::var("OUT_DIR").unwrap();
        std::fs::write(format!("{dir}/made.rs"), format!("pub const CONFIDENTIAL_MADE: u32 = {};", hidden::confidential_formula())).unwrap();
      }\n`,
      'generates/src/lib.rs': 'include!(concat!(env!("OUT_DIR"), "/made.rs"));\n',
      'app/Cargo.toml': manifest('app', uses('hidden', 'through', 'listed', 'peeks', 'generates', ...open)),
      'app/src/main.rs': 'fn main() { println!("{}", through::confidential_through()); }\n',
    })
    const confidential = ['hidden', 'through', 'listed', 'generates']
    // One is named in the configuration, which is read when the node starts.
    await ada.stop()
    const config = await readFile(join(ada.home, 'config.toml'), 'utf8')
    await ada.configure(`${config}\n[private]\npackages = ["listed"]\nworkspaces = ["${cluster.dir}/whole"]\n`)
    await ada.start()
    await ada.waitForPeers(1)
    await untilLent()
    const units = await cargo(dir)
    for (const name of [...confidential, 'app']) {
      const { outcome, reason } = units.get(name) ?? {}
      assert.deepEqual([name, outcome, reason], [name, 'compiled-here', 'private'])
    }
    assert.equal(units.get('peeks')?.outcome, 'compiled-here')
    if (!open.some((name) => units.get(name)?.outcome === 'compiled-mesh')) await someLent(dir, open)
    assert.ok((await sent('ada')).includes('_is_free'))

    const assertKept = async (): Promise<void> => {
      for (const bytes of [await sent('ada'), await sent('ben')]) {
        assert.ok(!/confidential/i.test(bytes.toString('latin1')))
        for (const crate of [...confidential, 'peeks']) {
          const digests = await digestsOf(dir, crate)
          assert.equal(digests.length >= 2, true, crate)
          for (const digest of digests) {
            assert.ok(!bytes.includes(digest), crate)
            assert.ok(
              !existsSync(
                join(cluster.dir, 'ben/cache/blocks', digest.toString('hex').slice(0, 2), digest.toString('hex')),
              ),
            )
          }
        }
      }
    }
    await assertKept()

    // Kept for this node alone, also when it comes back: recalled here, unknown to others.
    await ada.stop()
    await ada.start()
    await ada.waitForPeers(1)
    await rm(join(dir, 'target'), { recursive: true })
    const again = await cargo(dir)
    for (const name of [...confidential, 'peeks', 'app']) assert.equal(again.get(name)?.outcome, 'recalled-here', name)
    const ben = cluster.node('ben')
    const ran = await capture('cargo', ['build', '--offline'], {
      cwd: dir,
      env: { ...(await ben.cargoEnv()), CARGO_TARGET_DIR: join(cluster.dir, 'theirs') },
    })
    assert.equal(ran.code, 0, ran.stderr)
    for (const { crate, outcome } of (await lastReport(ben)).units) {
      if ([...confidential, 'peeks', 'app'].includes(crate)) assert.notEqual(outcome, 'recalled-mesh', crate)
    }
    assert.ok(!/confidential/i.test((await sent('ada')).toString('latin1')))
  })

  test('nothing of a private workspace leaves', async () => {
    for (const [at, rest] of [
      ['whole/ws', ''],
      ['itself', '[workspace.metadata.shoal]\nprivate = true\n'],
    ] as const) {
      const dir = join(cluster.dir, at)
      const before = (await sent('ada')).length
      await writeFiles(dir, {
        'Cargo.toml': `[workspace]\nresolver = "2"\nmembers = ["first", "second", "third"]\n${rest}`,
        'first/Cargo.toml': manifest('first'),
        'first/src/lib.rs': `pub fn undisclosed() {} // ${at}\n`,
        'second/Cargo.toml': manifest('second'),
        'second/src/lib.rs': `pub fn undisclosed_too() {} // ${at}\n`,
        'third/Cargo.toml': manifest('third', uses('first', 'second')),
        'third/src/lib.rs': 'pub fn f() { first::undisclosed() }\n',
      })
      for (const { outcome, reason, crate } of (await cargo(dir)).values()) {
        assert.deepEqual([crate, outcome, reason], [crate, 'compiled-here', 'private'])
      }
      const bytes = (await sent('ada')).subarray(before)
      assert.ok(!bytes.includes('undisclosed'))
      for (const crate of ['first', 'second', 'third']) {
        for (const digest of await digestsOf(dir, crate)) assert.ok(!bytes.includes(digest))
      }
      const lock = await capture('sha256sum', [join(dir, 'Cargo.lock')])
      assert.ok(!bytes.includes(Buffer.from(lock.stdout.slice(0, 64), 'hex')))
    }
  })
})
