import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { whileBusy, writeFiles } from '../support/busy.ts'
import { Cluster, capture, lastReport, type TestNode, type UnitRow } from '../support/cluster.ts'
import { until } from '../support/until.ts'

const manifest = (name: string, rest = ''): string =>
  `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n${rest}`
const usesMacros = '[dependencies]\nmacros = { path = "../macros" }\n'
const files = {
  'Cargo.toml': '[workspace]\nresolver = "2"\nmembers = ["macros", "first", "dated", "hosted", "app"]\n',
  'macros/Cargo.toml': manifest('macros', '[lib]\nproc-macro = true\n'),
  'macros/src/lib.rs': `use proc_macro::TokenStream;
extern "C" { fn gethostname(into: *mut u8, size: usize) -> i32; }
fn text(words: String) -> TokenStream { format!("pub const WORDS: &str = {words:?};").parse().unwrap() }
#[proc_macro] pub fn date(_: TokenStream) -> TokenStream {
    let now = std::time::SystemTime::now();
    text(now.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos().to_string())
}
#[proc_macro] pub fn host(_: TokenStream) -> TokenStream {
    let mut name = [0u8; 256];
    unsafe { gethostname(name.as_mut_ptr(), name.len()) };
    text(name.iter().take_while(|byte| **byte != 0).map(|byte| *byte as char).collect())
}
`,
  // Whoever builds this has the macros.
  'first/Cargo.toml': manifest('first', usesMacros),
  'first/src/lib.rs': '',
  'dated/Cargo.toml': manifest('dated', usesMacros),
  'dated/src/lib.rs': 'macros::date!();\n',
  'hosted/Cargo.toml': manifest('hosted', usesMacros),
  'hosted/src/lib.rs': 'macros::host!();\n',
  'app/Cargo.toml': manifest('app', '[dependencies]\ndated = { path = "../dated" }\nhosted = { path = "../hosted" }\n'),
  'app/src/main.rs': 'fn main() { print!("{} {}", dated::WORDS, hosted::WORDS); }\n',
}

describe('what a macro makes of the moment, or of what the machine is called', () => {
  let cluster: Cluster
  let ada: TestNode
  before(async () => {
    cluster = await Cluster.start(['ada', 'ben'])
    ada = cluster.node('ada')
  })
  after(() => cluster.close())

  async function build(dir: string, ...args: string[]): Promise<Map<string, UnitRow>> {
    const ran = await ada.cargo(dir, 'build', '--offline', ...args)
    assert.equal(ran.code, 0, ran.stderr)
    return new Map((await lastReport(ada)).units.map((unit) => [unit.crate, unit]))
  }
  const says = async (dir: string): Promise<string[]> =>
    (await capture(join(dir, 'target/debug/app'), [])).stdout.split(' ')
  const became = (units: Map<string, UnitRow>): (string | undefined)[] =>
    ['dated', 'hosted'].flatMap((crate) => [units.get(crate)?.outcome, units.get(crate)?.reason])

  test('is made anew with each build', async () => {
    const dir = join(cluster.dir, 'again')
    await writeFiles(dir, files)
    const dates: string[] = []
    for (let round = 0; round < 2; round++) {
      await rm(join(dir, 'target'), { recursive: true, force: true })
      const began = BigInt(Date.now()) * 1_000_000n
      assert.deepEqual(became(await build(dir, '-j1')), ['compiled-here', 'clock', 'compiled-here', 'unobserved'])
      const [date = '', host] = await says(dir)
      assert.ok(BigInt(date) >= began, 'of another build')
      assert.equal(host, hostname())
      dates.push(date)
    }
    assert.notEqual(dates[0], dates[1])
  })

  test('but what is constant is recalled where libm computes it alike', async () => {
    const dir = join(cluster.dir, 'computed')
    await writeFiles(dir, {
      'Cargo.toml': manifest('computed', '[profile.dev]\nopt-level = 2\n'),
      'src/lib.rs': '#[no_mangle] pub fn computed(x: f64) -> f64 { x + 0.3_f64.sin() }\n',
    })
    const outcomes: (string | undefined)[] = []
    for (const tunables of ['', '', 'glibc.cpu.hwcaps=-FMA', 'glibc.cpu.hwcaps=-FMA']) {
      await rm(join(dir, 'target'), { recursive: true, force: true })
      const env = { ...(await ada.cargoEnv()), ...(tunables !== '' && { GLIBC_TUNABLES: tunables }) }
      const ran = await capture('cargo', ['build', '--offline'], { cwd: dir, env })
      assert.equal(ran.code, 0, ran.stderr)
      outcomes.push((await lastReport(ada)).units.find(({ crate }) => crate === 'computed')?.outcome)
    }
    assert.deepEqual(
      outcomes.map((outcome) => outcome?.replace(/-.*/, '')),
      ['compiled', 'recalled', 'compiled', 'recalled'],
    )
  })

  test('is not taken from a lender', async () => {
    const dir = join(cluster.dir, 'away')
    await writeFiles(dir, { ...files, 'dated/src/lib.rs': 'macros::date!();\n// Away.\n' })
    await build(dir, '-p', 'first')
    const before = ada.log.length
    let units = new Map<string, UnitRow>()
    await whileBusy(ada, join(cluster.dir, 'busy'), 2, async (release) => {
      const building = build(dir, '-p', 'hosted', '-p', 'dated').then((all) => {
        units = all
      })
      await until('both came back', async () => (ada.log.slice(before).match(/unit came back/g)?.length ?? 0) >= 2)
      await release()
      await building
    })
    assert.deepEqual([units.get('dated')?.outcome, units.get('hosted')?.outcome], ['compiled-here', 'compiled-here'])
    await build(dir)
    assert.equal((await says(dir))[1], hostname())
  })
})
