-- What pandoc leaves open, for the preview builder and for Quarto, which it reaches before Quarto's own filters:
-- callouts, tables that scroll, a number and its % on one line, a heading above the references.
local titles = { note = "Note", tip = "Tip", warning = "Warning", important = "Important", caution = "Caution" }

function Inlines(inlines)
  for n = 2, #inlines - 1 do
    local before, blank, after = inlines[n - 1], inlines[n], inlines[n + 1]
    if (blank.t == "Space" or blank.t == "SoftBreak") and before.t == "Str" and after.t == "Str"
      and before.text:match("%d$") and after.text:match("^%%") then
      inlines[n] = pandoc.Str("\u{a0}")
    end
  end
  return inlines
end

function Table(table)
  return pandoc.Div({ table }, pandoc.Attr("", { "scroll" }))
end

local function callout(div, kind)
  local title = div.attributes.title
  if not title and div.content[1] and div.content[1].t == "Header" then
    title = pandoc.utils.stringify(div.content:remove(1))
  end
  title = pandoc.Inlines(title or titles[kind])
  local content = pandoc.Blocks(div.content)
  if div.attributes.collapse then
    local open = div.attributes.collapse == "false" and " open" or ""
    content:insert(1, pandoc.RawBlock("html", "<details" .. open .. "><summary>"))
    content:insert(2, pandoc.Plain(title))
    content:insert(3, pandoc.RawBlock("html", "</summary>"))
    content:insert(pandoc.RawBlock("html", "</details>"))
  else
    content:insert(1, pandoc.Div({ pandoc.Para(title) }, pandoc.Attr("", { "callout-title" })))
  end
  return pandoc.Div(content, pandoc.Attr(div.identifier, { "callout", "callout-" .. kind }, { role = "note" }))
end

function Div(div)
  for _, class in ipairs(div.classes) do
    local kind = class:match("^callout%-(%a+)$")
    if titles[kind] then
      return callout(div, kind)
    end
  end
end

function Pandoc(doc)
  local cites, taken = false, {}
  doc:walk({
    Cite = function() cites = true end,
    Header = function(header) taken[header.identifier] = true end,
  })
  if not cites or not doc.meta.bibliography then return end
  local name = "references"
  while taken[name] do name = name .. "-cited" end
  doc.blocks:insert(pandoc.Header(2, "References", pandoc.Attr(name, { "unnumbered" })))
  doc.blocks:insert(pandoc.Div({}, pandoc.Attr("refs")))
  return doc
end
