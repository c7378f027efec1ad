//! Looks up functions as `dlsym(RTLD_NEXT, …)` does, for all hooks at once: that takes the loader's lock and goes through all of its
//! checks for each of two hundred names, a quarter of what it takes to start a program with this library.

use core::ffi::{c_int, c_void};

use crate::linux::bytes;
use crate::loads::{extent, segments, Object};

pub enum Found {
    At(usize),
    /// No library after this one has it.
    Nowhere,
    /// Only the loader can tell.
    Unclear,
}

/// A library's table of what others can call.
#[derive(Clone, Copy)]
struct Table {
    base: usize,
    hashes: *const u32,
    symbols: *const Symbol,
    names: *const u8,
    versions: *const u16,
}

/// `Elf64_Sym`.
#[repr(C)]
struct Symbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: usize,
    size: usize,
}

const MAX: usize = 32;

/// The libraries that the program started with, after this one, in the order in which the loader searches them.
pub struct Tables {
    tables: [Option<Table>; MAX],
    count: usize,
    is_after: bool,
    is_whole: bool,
}

/// The hash of the tables. `name` ends with a zero.
pub const fn hash_of(name: &str) -> u32 {
    let bytes = name.as_bytes();
    let mut hash = 5381u32;
    let mut at = 0;
    while at < bytes.len() && bytes[at] != 0 {
        hash = hash.wrapping_mul(33).wrapping_add(bytes[at] as u32);
        at += 1;
    }
    hash
}

impl Tables {
    pub unsafe fn read() -> Tables {
        let mut tables = Tables {
            tables: [None; MAX],
            count: 0,
            is_after: false,
            is_whole: true,
        };
        crate::loads::each_object(add, &mut tables as *mut Tables as *mut c_void);
        tables
    }

    /// `name` ends with a zero.
    pub unsafe fn find(&self, hash: u32, name: *const u8) -> Found {
        if !self.is_whole {
            return Found::Unclear;
        }
        for table in self.tables.iter().take(self.count).flatten() {
            match table.find(hash, name) {
                Found::Nowhere => {}
                found => return found,
            }
        }
        Found::Nowhere
    }
}

unsafe extern "C" fn add(object: *const Object, _: usize, tables: *mut c_void) -> c_int {
    let (object, tables) = (&*object, &mut *tables.cast::<Tables>());
    let (low, high) = extent(object);
    if (low..high).contains(&(add as *const () as usize)) {
        tables.is_after = true;
    } else if tables.is_after && bytes(object.name).contains(&b'/') {
        // What the kernel maps into each process has no path, and is searched by nobody.
        let table = table_of(object);
        match tables.tables.get_mut(tables.count) {
            Some(slot) if table.is_some() => *slot = table,
            _ => tables.is_whole = false,
        }
        tables.count += 1;
    }
    0
}

unsafe fn table_of(object: &Object) -> Option<Table> {
    const DYNAMIC: u32 = 2;
    const NAMES: usize = 5;
    const SYMBOLS: usize = 6;
    const HASHES: usize = 0x6fff_fef5;
    const VERSIONS: usize = 0x6fff_fff0;
    let segment = segments(object)
        .iter()
        .find(|segment| segment.kind == DYNAMIC)?;
    let mut entry = (object.base + segment.address) as *const [usize; 2];
    let [mut hashes, mut symbols, mut names, mut versions] = [0usize; 4];
    while (*entry)[0] != 0 {
        let [tag, value] = *entry;
        // Some loaders put addresses there when they have read it.
        let address = match value < object.base {
            true => object.base + value,
            false => value,
        };
        match tag {
            HASHES => hashes = address,
            SYMBOLS => symbols = address,
            NAMES => names = address,
            VERSIONS => versions = address,
            _ => {}
        }
        entry = entry.add(1);
    }
    let is_whole = hashes != 0 && symbols != 0 && names != 0 && object.base != 0;
    is_whole.then_some(Table {
        base: object.base,
        hashes: hashes as *const u32,
        symbols: symbols as *const Symbol,
        names: names as *const u8,
        versions: versions as *const u16,
    })
}

impl Table {
    unsafe fn find(&self, hash: u32, name: *const u8) -> Found {
        const BITS: u32 = usize::BITS;
        let [buckets, first, words, shift] = *self.hashes.cast::<[u32; 4]>();
        if buckets == 0 || words == 0 {
            return Found::Unclear;
        }
        let filter = self.hashes.add(4).cast::<usize>();
        let word = filter.add((hash / BITS % words) as usize).read_unaligned();
        let wanted = 1usize << (hash % BITS) | 1usize << ((hash >> shift) % BITS);
        if word & wanted != wanted {
            return Found::Nowhere;
        }
        let heads = filter.add(words as usize).cast::<u32>();
        let chain = heads.add(buckets as usize);
        let mut at = *heads.add((hash % buckets) as usize);
        if at < first {
            return Found::Nowhere;
        }
        loop {
            let held = *chain.add((at - first) as usize);
            if held | 1 == hash | 1 {
                match self.symbol(at as usize, name) {
                    Found::Nowhere => {}
                    found => return found,
                }
            }
            if held & 1 != 0 {
                return Found::Nowhere;
            }
            at += 1;
        }
    }

    /// What a symbol is, if it is of that name and the version that is usual.
    unsafe fn symbol(&self, at: usize, name: *const u8) -> Found {
        const HIDDEN: u16 = 0x8000;
        const FUNCTION: u8 = 2;
        let symbol = &*self.symbols.add(at);
        let is_hidden = !self.versions.is_null() && *self.versions.add(at) & HIDDEN != 0;
        if is_hidden || symbol.section == 0 {
            return Found::Nowhere;
        }
        if bytes(self.names.add(symbol.name as usize)) != bytes(name) {
            return Found::Nowhere;
        }
        // One that is chosen for the processor, for one.
        if symbol.info & 0xf != FUNCTION || symbol.info >> 4 == 0 {
            return Found::Unclear;
        }
        Found::At(self.base + symbol.value)
    }
}
