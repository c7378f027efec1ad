import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { startAudited } from '../support/audited.ts'
import { writeFiles } from '../support/busy.ts'
import { lastReport } from '../support/cluster.ts'

const manifest = (name: string, rest = ''): string =>
  `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n${rest}`

const files = {
  'Cargo.toml': '[workspace]\nresolver = "2"\nmembers = ["macros", "app"]\n',
  'macros/Cargo.toml': manifest('macros', '[lib]\nproc-macro = true\n'),
  'macros/src/lib.rs': `use proc_macro::TokenStream;
#[proc_macro] pub fn seven(_: TokenStream) -> TokenStream { "7".parse().unwrap() }
`,
  'app/Cargo.toml': manifest('app', 'build = "build.rs"\n[dependencies]\nmacros = { path = "../macros" }\n'),
  'app/build.rs': 'fn main() { println!("cargo:rerun-if-changed=build.rs") }\n',
  'app/src/main.rs': 'fn main() { println!("{}", macros::seven!()) }\n',
}

const lints = {
  'Cargo.toml': manifest('linted', '[lints.clippy]\nneedless_return = "allow"\n'),
  'clippy.toml': 'too-many-arguments-threshold = 2\n',
  'src/lib.rs': `pub fn f(flag: bool, _: u8, _: u8) -> bool {
    let unused = 1;
    return flag == true;
}
`,
}

test('what somebody else has linted is linted again here when there is time, and the same is found', async () => {
  const { cluster, ada, ben, audits: counted } = await startAudited()
  try {
    // One alone is not believed.
    const cy = await cluster.join('cy', '[lend]\nslots = 0\n')
    for (const node of [ada, ben, cy]) await node.waitForPeers(2)
    for (const node of [ben, cy, ada]) {
      const dir = join(cluster.dir, node.name, 'ws')
      await writeFiles(dir, lints)
      const ran = await node.cargo(dir, 'clippy', '--offline')
      assert.equal(ran.code, 0, ran.stderr)
      assert.match(ran.stderr, /too many arguments/)
    }
    const { units } = await lastReport(ada)
    assert.deepEqual(
      units.map(({ outcome }) => outcome),
      ['recalled-mesh'],
      ada.log,
    )
    let audits = await counted()
    while (audits.waiting > 0 || audits.run === 0) {
      await delay(100)
      audits = await counted()
    }
    assert.deepEqual(audits, { waiting: 0, run: 1, agreed: 1, unsteady: 0, disagreed: 0, open: 0 }, ada.log)
  } finally {
    await cluster.close()
  }
})

test('what somebody else has linked is made again here when there is time, and comes out the same', async () => {
  const { cluster, ada, ben, audits: counted } = await startAudited()
  try {
    for (const node of [ben, ada]) {
      const dir = join(cluster.dir, node.name, 'ws')
      await writeFiles(dir, files)
      const ran = await node.cargo(dir, 'build', '--offline')
      assert.equal(ran.code, 0, ran.stderr)
    }
    const recalled = (await lastReport(ada)).units.filter(({ outcome }) => outcome === 'recalled-mesh')
    const kinds = recalled.map(({ kind }) => kind).toSorted()
    assert.deepEqual(kinds, ['bin', 'build-script', 'proc-macro'], ada.log)
    let audits = await counted()
    while (audits.agreed + audits.open < kinds.length) {
      await delay(100)
      audits = await counted()
      assert.ok(audits.run <= kinds.length)
    }
    assert.deepEqual(audits, { waiting: 0, run: 3, agreed: 3, unsteady: 0, disagreed: 0, open: 0 }, ada.log)
  } finally {
    await cluster.close()
  }
})
