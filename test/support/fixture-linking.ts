import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { capture } from './cluster.ts'
import { type Content, type Files, type Mutation, packageManifest, readSaid, type Said, type State } from './fixture.ts'

/** Object files and archives with a function `NAME_stamp` that returns 1 or 2, or a constructor that says `NAME=two`. */
class NativeCode {
  readonly #dir: string

  private constructor(dir: string) {
    this.#dir = dir
  }

  static async use<T>(make: (code: NativeCode) => Promise<T>): Promise<T> {
    const dir = await mkdtemp(join(tmpdir(), 'shoal-native-'))
    try {
      return await make(new NativeCode(dir))
    } finally {
      await rm(dir, { recursive: true })
    }
  }

  async stamp(name: string, value: number): Promise<Buffer> {
    return await this.#compile(`int ${name}_stamp(void) { return ${value}; }\n`)
  }

  /** Said before anything else runs. */
  async constructorOf(name: string): Promise<Buffer> {
    const text = `${name}=two\\n`
    return await this.#compile(
      `#include <unistd.h>\n__attribute__((constructor)) static void say(void) { (void)!write(1, "${text}", ${text.length - 1}); }\n`,
    )
  }

  async archive(object: Buffer): Promise<Buffer> {
    await writeFile(join(this.#dir, 'member.o'), object)
    await rm(join(this.#dir, 'made.a'), { force: true })
    await run('ar', ['crsD', 'made.a', 'member.o'], this.#dir)
    return await readFile(join(this.#dir, 'made.a'))
  }

  /** The C runtime's entry object with something added. */
  async entryWith(object: Buffer): Promise<Buffer> {
    const entry = (await run('cc', ['-print-file-name=Scrt1.o'], this.#dir)).trim()
    await writeFile(join(this.#dir, 'added.o'), object)
    await run('ld', ['-r', '-o', 'entry.o', entry, 'added.o'], this.#dir)
    return await readFile(join(this.#dir, 'entry.o'))
  }

  async #compile(source: string): Promise<Buffer> {
    await writeFile(join(this.#dir, 'source.c'), source)
    await run('cc', ['-fPIC', '-c', 'source.c', '-o', 'object.o'], this.#dir)
    return await readFile(join(this.#dir, 'object.o'))
  }
}

async function run(program: string, args: string[], cwd: string): Promise<string> {
  const ran = await capture(program, args, { cwd })
  if (ran.code !== 0) throw new Error(`${program} ${args.join(' ')}: ${ran.stderr}`)
  return ran.stdout
}

const stamps = ['linker', 'object', 'archive', 'script', 'variable']
const main = `extern "C" {
${stamps.map((name) => `    fn ${name}_stamp() -> i32;\n`).join('')}}
fn main() {
${stamps.map((name) => `    println!("${name}={}", unsafe { ${name}_stamp() });\n`).join('')}}
`

const linker = (stamp: number): Content => ({
  program: `#!/bin/sh\nhere=$(dirname "$0")\nexec cc -B"$here/runtime/" "$@" "$here/linker-${stamp}.o"\n`,
})
const earlierDriver: Content = {
  program: `#!/bin/sh\nPATH="\${PATH#*:}"\nexec cc "$@" "$(dirname "$0")/../spare/driver.o"\n`,
}

async function makeFiles(): Promise<Files> {
  return await NativeCode.use(async (code) => {
    const files: Record<string, Content | null> = {
      'Cargo.toml': packageManifest('linked'),
      'src/main.rs': main,
      'tools/gcc': linker(1),
      'tools/runtime/Scrt1.o': null,
      'spare/driver.o': await code.constructorOf('driver'),
      'spare/entry.o': await code.entryWith(await code.constructorOf('entry')),
      'native/libscript_stamp.so': 'INPUT(inner-1.a)\n',
      'earlier/libarchive_stamp.a': null,
    }
    for (const value of [1, 2]) {
      files[`tools/linker-${value}.o`] = await code.stamp('linker', value)
      files[`spare/object-${value}.o`] = await code.stamp('object', value)
      for (const name of ['archive', 'script', 'variable']) {
        files[`spare/${name}-${value}.a`] = await code.archive(await code.stamp(name, value))
      }
      files[`native/inner-${value}.a`] = { copyOf: `spare/script-${value}.a` }
      files[`variable-${value}/libvariable_stamp.a`] = { copyOf: `spare/variable-${value}.a` }
    }
    return {
      ...files,
      'native/object.o': { copyOf: 'spare/object-1.o' },
      'native/libarchive_stamp.a': { copyOf: 'spare/archive-1.a' },
    }
  })
}

/** A program most of which is known to its linker only. */
export async function linkState(dir: string): Promise<State> {
  const flags = [
    ...['-C', `linker=${dir}/tools/gcc`, '-C', `link-arg=${dir}/native/object.o`],
    ...['-L', `native=${dir}/earlier`, '-L', `native=${dir}/native`],
    ...['archive', 'script', 'variable'].flatMap((name) => ['-l', `dylib=${name}_stamp`]),
  ]
  return {
    files: await makeFiles(),
    env: { CARGO_ENCODED_RUSTFLAGS: flags.join('\x1f'), LIBRARY_PATH: `${dir}/variable-1` },
    args: ['build', '--offline'],
  }
}

export async function listenToLinked(dir: string): Promise<Said> {
  return readSaid((await capture(join(dir, 'target/debug/linked'), [])).stdout)
}

const touches = ['linked bin']

export const linkMutations: readonly Mutation[] = [
  { title: 'the linker', files: { 'tools/gcc': linker(2) }, touches, says: { linker: '2' } },
  {
    title: 'an object that only the linker names',
    files: { 'tools/linker-1.o': { copyOf: 'tools/linker-2.o' } },
    touches,
    says: { linker: '2' },
  },
  {
    title: 'an object on the command line',
    files: { 'native/object.o': { copyOf: 'spare/object-2.o' } },
    touches,
    says: { object: '2' },
  },
  {
    title: 'a library',
    files: { 'native/libarchive_stamp.a': { copyOf: 'spare/archive-2.a' } },
    touches,
    says: { archive: '2' },
  },
  {
    title: 'a library of that name that is found earlier',
    files: { 'earlier/libarchive_stamp.a': { copyOf: 'spare/archive-2.a' } },
    touches,
    says: { archive: '2' },
  },
  {
    title: 'a linker script',
    files: { 'native/libscript_stamp.so': 'INPUT(inner-2.a)\n' },
    touches,
    says: { script: '2' },
  },
  {
    title: 'a library that a linker script names',
    files: { 'native/inner-1.a': { copyOf: 'spare/script-2.a' } },
    touches,
    says: { script: '2' },
  },
  {
    title: 'an entry object that is found before that of the system',
    files: { 'tools/runtime/Scrt1.o': { copyOf: 'spare/entry.o' } },
    touches,
    says: { entry: 'two' },
  },
  {
    title: 'a variable that the compiler driver looks at',
    env: (dir) => ({ LIBRARY_PATH: `${dir}/variable-2` }),
    touches,
    says: { variable: '2' },
  },
  {
    title: 'another compiler driver earlier along PATH',
    files: { 'path/cc': earlierDriver },
    env: (dir) => ({ PATH: `${dir}/path:${process.env.PATH}` }),
    touches,
    says: { driver: 'two' },
  },
]
