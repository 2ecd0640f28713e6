//! In which order a class is read: its file up to its forward, then each method and function that the forward calls, in the order
//! of the calls and from whatever file, then the rest of the file. Each line stands in one row.

use std::ops::Range;
use std::sync::Arc;

use super::ClassSource;

/// Most methods and functions that are listed behind a forward.
pub(super) const MOST_CALLED: usize = 64;

/// A method or a function that a forward calls, or that one that it calls does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// `ResNet._forward_impl`, of a function its name alone.
    pub name: Box<str>,
    /// The file that it is in.
    pub file: Arc<str>,
    /// The whole file.
    pub text: Arc<str>,
    /// 1-based lines, end excluded.
    pub lines: Range<usize>,
    /// Lines in it that mention `self.<name>`, with that name.
    pub mentions: Vec<(usize, String)>,
}

/// What a row says that is no line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heading<'a> {
    /// What the forward calls begins below.
    Called(&'a Called),
    /// What would stand here is shown behind the forward.
    Moved(&'a Called),
    /// The file goes on, as it is, from this line.
    Rest(usize),
}

/// Lines of one file that follow one another, with what is said above them.
#[derive(Debug, Clone, Copy)]
pub struct Section<'a> {
    /// The row of the heading, or of the first line where there is none; 1-based.
    pub first: usize,
    /// What stands above the lines.
    pub heading: Option<Heading<'a>>,
    /// The file.
    pub file: &'a str,
    /// The whole file.
    pub text: &'a str,
    /// The first line, 1-based.
    pub line: usize,
    /// One past the last; the last section of the file ends with the file, whatever this is.
    pub end: usize,
}

impl<'a> Section<'a> {
    /// The row of the first line.
    pub fn body(&self) -> usize {
        self.first + usize::from(self.heading.is_some())
    }

    /// Its lines, from that of a row on: the row, the number of the line, and its text.
    pub fn lines_from(&self, row: usize) -> impl Iterator<Item = (usize, usize, &'a str)> {
        let skipped = row.saturating_sub(self.body());
        let (first, line) = (self.body() + skipped, self.line.saturating_add(skipped));
        let count = self.end.saturating_sub(line);
        let lines = self.text.lines().skip(line - 1).take(count);
        lines.enumerate().map(move |(at, text)| (first + at, line + at, text))
    }
}

/// The rows of a class.
#[derive(Debug, Clone)]
pub struct Listing<'a> {
    sections: Vec<Section<'a>>,
}

impl<'a> Listing<'a> {
    /// The rows of a class: of one whose forward calls nothing of its own, the lines of its file.
    pub fn of(source: &'a ClassSource) -> Listing<'a> {
        let (file, text) = (source.file.as_str(), &*source.text);
        let mut listing = Listing { sections: Vec::new() };
        let shown = called(source);
        let Some(forward) = source.forward.as_ref().filter(|_| !shown.is_empty()) else {
            listing.push(None, (file, text), 1..usize::MAX);
            return listing;
        };
        let mut moved: Vec<&Called> = shown.iter().copied().filter(|called| *called.file == *file).collect();
        moved.sort_by_key(|called| called.lines.start);
        let mut line = 1;
        let (before, behind) = moved.split_at(moved.partition_point(|called| called.lines.start < forward.start));
        for called in before {
            if line < called.lines.start {
                listing.push(None, (file, text), line..called.lines.start);
            }
            listing.push(Some(Heading::Moved(called)), (file, text), called.lines.end..called.lines.end);
            line = called.lines.end;
        }
        listing.push(None, (file, text), line..forward.end);
        for called in shown {
            listing.push(Some(Heading::Called(called)), (&called.file, &called.text), called.lines.clone());
        }
        let mut heading = Some(Heading::Rest(forward.end));
        line = forward.end;
        for called in behind {
            if line < called.lines.start {
                listing.push(heading.take(), (file, text), line..called.lines.start);
            }
            heading = Some(Heading::Moved(called));
            line = called.lines.end;
        }
        listing.push(heading, (file, text), line..usize::MAX);
        listing
    }

    fn push(&mut self, heading: Option<Heading<'a>>, (file, text): (&'a str, &'a str), lines: Range<usize>) {
        let first = self.sections.last().map_or(1, |last| last.body() + (last.end - last.line));
        self.sections.push(Section { first, heading, file, text, line: lines.start, end: lines.end });
    }

    /// The sections, in order.
    pub fn sections(&self) -> &[Section<'a>] {
        &self.sections
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        let Some(last) = self.sections.last() else { return 0 };
        let lines = (last.text.lines().count() + 1).saturating_sub(last.line);
        if lines == 0 { last.first - 1 } else { last.body() + lines - 1 }
    }

    /// The row of a line; `None` where it is in a file of which only parts are shown, and in none of them.
    pub fn row(&self, file: &str, line: usize) -> Option<usize> {
        let holds = |section: &&Section<'_>| section.file == file && (section.line..section.end).contains(&line);
        self.sections.iter().find(holds).map(|section| section.body() + line - section.line)
    }

    /// The file and the line of a row; of a heading those of the line below it.
    pub fn at(&self, row: usize) -> Option<(&'a str, usize)> {
        let at = self.sections.partition_point(|section| section.first <= row).checked_sub(1)?;
        let section = self.sections.get(at)?;
        Some((section.file, section.line + row.saturating_sub(section.body())))
    }

    /// The rows as one text: what is coloured. A heading is an empty line.
    pub fn text(&self) -> String {
        let mut all = String::new();
        for section in &self.sections {
            if section.heading.is_some() {
                all.push('\n');
            }
            for (_, _, line) in section.lines_from(section.body()) {
                all.push_str(line);
                all.push('\n');
            }
        }
        all
    }
}

/// What is listed behind the forward: none of it within it, or within another.
fn called(source: &ClassSource) -> Vec<&Called> {
    let mut shown: Vec<&Called> = Vec::new();
    for called in &source.called {
        let overlaps = |file: &str, lines: &Range<usize>| {
            file == &*called.file && lines.start < called.lines.end && called.lines.start < lines.end
        };
        let forward = source.forward.as_ref().is_some_and(|forward| overlaps(&source.file, forward));
        if !forward && !shown.iter().any(|other| overlaps(&other.file, &other.lines)) {
            shown.push(called);
        }
    }
    shown
}

impl ClassSource {
    /// The order in which it is read.
    pub fn listing(&self) -> Listing<'_> {
        Listing::of(self)
    }

    /// Lines that there are to port: those of the forward, and of what it calls, each once. 0 where no forward was found.
    pub fn lines_to_port(&self) -> usize {
        let Some(forward) = &self.forward else { return 0 };
        forward.len() + called(self).iter().map(|called| called.lines.len()).sum::<usize>()
    }

    /// The row under which something at a line is shown: its own, or that of the class where it is in a file that is not listed.
    pub fn row_shown(&self, listing: &Listing<'_>, file: &str, line: usize) -> usize {
        let own = listing.row(file, line);
        own.or_else(|| listing.row(&self.file, self.class_line)).unwrap_or(self.class_line)
    }

    /// Rows of a listing of it that mention `self.<name>`, with that name: of the forward first, then of what it calls, in order.
    pub fn named_rows<'a>(&'a self, listing: &Listing<'_>) -> Vec<(usize, &'a str)> {
        let mut rows = rows_of(listing, &self.file, &self.mentions);
        called(self).into_iter().for_each(|called| rows.extend(rows_of(listing, &called.file, &called.mentions)));
        rows
    }

    /// Rows of a listing of it where the constructors in the same file mention `self.<name>`.
    pub fn built_rows<'a>(&'a self, listing: &Listing<'_>) -> Vec<(usize, &'a str)> {
        rows_of(listing, &self.file, &self.builds)
    }
}

/// Lines of a file by their rows.
fn rows_of<'a>(listing: &Listing<'_>, file: &str, lines: &'a [(usize, String)]) -> Vec<(usize, &'a str)> {
    lines.iter().filter_map(|(line, name)| Some((listing.row(file, *line)?, name.as_str()))).collect()
}
