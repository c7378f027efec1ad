import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { StatDigests } from '../../src/plan/stat-digests.ts'
import { filesOf, Trees } from '../../src/plan/trees.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'shoal-trees-'))
})
afterEach(() => rm(dir, { recursive: true }))

async function put(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(dir, path)), { recursive: true })
  await writeFile(join(dir, path), text)
}
const memo = (): Trees => new Trees(new StatDigests())

test('a tree is its files, whatever build directories and version control lie beside them', async () => {
  await put('src/lib.rs', 'a')
  const before = await memo().tree(dir, false)
  await put('target/CACHEDIR.TAG', 'x')
  await put('target/debug/libx.rlib', 'x')
  await put('.git/HEAD', 'x')
  const after = await memo().tree(dir, false)
  assert.ok(after.cid.equals(before.cid))
  assert.deepEqual(
    after.tree.files.map((file) => file.path),
    ['src/lib.rs'],
  )
})

test('what looks private counts, but is not lent', async () => {
  await put('src/lib.rs', 'a')
  // What sqlx's macros read, and what everybody may.
  const query = `.sqlx/query-${'0123456789abcdef'.repeat(4)}.json`
  const lent = [query, 'docs/secrets.example.toml', 'src/kubeconfig.rs', 'web/.well-known/security.txt']
  for (const path of lent) await put(path, '{}')
  assert.equal((await memo().tree(dir, false)).withheld, false)
  for (const path of ['.gitignore', '.cargo/config.toml', '.sqlx/.env', '.sqlx/db.key', '.sqlx-data/a.json'])
    await put(path, 'target')
  assert.equal((await memo().tree(dir, false)).withheld, true)
  await put('web/.htpasswd', 'me')
  for (const path of [
    'local.env',
    'credentials.json',
    'client_secret.json',
    'service-account-prod.json',
    'push.p8',
    'prod.tfvars',
    'prod.tfvars.json',
    'terraform.tfstate.backup',
    'kubeconfig',
    'kubeconfig-prod.yaml',
    'application_default_credentials.json',
    'Secrets.dev.toml',
    'prod.secrets.yaml',
    'kubeconfig.prod.yaml',
    'client_secret_12-ab.apps.googleusercontent.com.json',
    'fish-firebase-adminsdk-x1-0123456789.json',
    'fish-0123456789ab.json',
    'server.key.bak',
    'fish_accessKeys.csv',
  ])
    await put(path, 'k')
  await put('.env', 'TOKEN=1')
  await put('keys/id_ed25519', 'k')
  await put('tls/server.pem', 'k')
  await put('.ssh/config', 'k')
  const tree = await memo().tree(dir, false)
  assert.equal(tree.withheld, true)
  assert.deepEqual(
    [...filesOf(tree)].map(({ path }) => path),
    [...lent, 'src/lib.rs'].sort().map((path) => join(dir, path)),
  )
  await put('.env', 'TOKEN=2')
  assert.ok(!(await memo().tree(dir, false)).cid.equals(tree.cid))
})

test('a link to a file is the file; a link to a directory is left out', async () => {
  await put('real/data.txt', 'one')
  await put('package/src/lib.rs', 'a')
  await symlink('../real/data.txt', join(dir, 'package/data.txt'))
  await symlink('../real', join(dir, 'package/linked'))
  await symlink('nowhere', join(dir, 'package/dangling'))
  const one = await memo().tree(join(dir, 'package'), false)
  assert.deepEqual(
    one.tree.files.map((file) => file.path),
    ['data.txt', 'src/lib.rs'],
  )
  await put('real/data.txt', 'two')
  assert.ok(!(await memo().tree(join(dir, 'package'), false)).cid.equals(one.cid))
})

test('what a link leads to is not lent if it looks private where it lies', async () => {
  await put('package/src/lib.rs', 'a')
  for (const path of ['.env', '.ssh/config', 'tls/server.pem', '.clippy.toml', 'shared/note.txt']) await put(path, 'k')
  const links = {
    'a.txt': '.env',
    'b.txt': '.ssh/config',
    'tests/c.txt': 'tls/server.pem',
    'note.txt': 'shared/note.txt',
  }
  const lent = async () => {
    const tree = await memo().tree(join(dir, 'package'), false)
    return {
      withheld: tree.withheld,
      links: tree.links,
      paths: [...filesOf(tree)].map(({ path }) => path.slice(dir.length)),
    }
  }
  await symlink('../.clippy.toml', join(dir, 'package/clippy.toml'))
  assert.deepEqual(await lent(), { withheld: true, links: ['clippy.toml'], paths: ['/package/src/lib.rs'] })
  await mkdir(join(dir, 'package/tests'))
  for (const [link, to] of Object.entries(links)) await symlink(join(dir, to), join(dir, 'package', link))
  const { links: found, paths } = await lent()
  assert.deepEqual([...found].sort(), ['clippy.toml', ...Object.keys(links)].sort())
  assert.deepEqual(paths, ['/package/note.txt', '/package/src/lib.rs'])
  // A registry's packages are everybody's.
  assert.equal((await memo().tree(join(dir, 'package'), true)).lendableTree.files.length, 6)
})

test('a change of the same length and time stamp is seen', async () => {
  const trees = memo()
  await put('src/lib.rs', 'aaaa')
  await utimes(join(dir, 'src/lib.rs'), 1000, 1000)
  const before = await trees.tree(dir, false)
  assert.ok((await trees.tree(dir, false)).cid.equals(before.cid))
  assert.equal(await trees.unchanged([before]), true)
  await put('src/lib.rs', 'bbbb')
  await utimes(join(dir, 'src/lib.rs'), 1000, 1000)
  assert.equal(await trees.unchanged([before]), false)
})

test('an edited registry package is another one', async () => {
  const trees = memo()
  await put('src/lib.rs', 'a')
  const before = await trees.tree(dir, true)
  await put('src/lib.rs', 'b')
  assert.ok(!(await trees.tree(dir, true)).cid.equals(before.cid))
})
