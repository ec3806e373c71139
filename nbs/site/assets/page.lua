-- What pandoc leaves open, for the preview builder and for Quarto:
-- callouts, tables that scroll, a number and its % on one line, a heading above the references; and what the builders
-- made for this page, which is in its metadata: `made` for the places that show posts, `terms` for links to the glossary.
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

local function callout(kind, title, content, collapse, identifier)
  if not title or #title == 0 then title = pandoc.Inlines(titles[kind] or "Note") end
  local shown = pandoc.Blocks(content)
  if collapse ~= nil then
    local open = tostring(collapse) == "false" and " open" or ""
    shown:insert(1, pandoc.RawBlock("html", "<details" .. open .. "><summary>"))
    shown:insert(2, pandoc.Plain(title))
    shown:insert(3, pandoc.RawBlock("html", "</summary>"))
    shown:insert(pandoc.RawBlock("html", "</details>"))
  else
    shown:insert(1, pandoc.Div({ pandoc.Para(title) }, pandoc.Attr("", { "callout-title" })))
  end
  return pandoc.Div(shown, pandoc.Attr(identifier, { "callout", "callout-" .. kind }, { role = "note" }))
end

function Div(div)
  for _, class in ipairs(div.classes) do
    local kind, title = class:match("^callout%-(%a+)$"), div.attributes.title
    if titles[kind] then
      if title then
        title = pandoc.utils.blocks_to_inlines(pandoc.read(title, "markdown").blocks)
      elseif div.content[1] and div.content[1].t == "Header" then
        title = div.content:remove(1).content
      end
      return callout(kind, title, div.content, div.attributes.collapse, div.identifier)
    end
  end
end

-- A callout that Quarto has read already.
function Callout(node)
  local title, content = quarto.utils.as_inlines(node.title), quarto.utils.as_blocks(node.content)
  return callout(node.type, title, content, node.collapse, node.attr and node.attr.identifier or "")
end

-- Lists and findings of posts in the places that ask for them.
local function with_made(blocks, made)
  local function html(key) return pandoc.utils.stringify(made[key] or "") end
  return blocks:walk({
    Div = function(div)
      if not div.classes:includes("from-posts") then return end
      return pandoc.RawBlock("html", html((div.attributes.show or "") .. " " .. (div.attributes.of or "")))
    end,
    Span = function(span)
      if not span.classes:includes("finding") then return end
      return pandoc.RawInline("html", html("finding " .. pandoc.utils.stringify(span)))
    end,
  })
end

local apart = { a = true, summary = true, button = true, label = true, code = true, pre = true, th = true, td = true,
  caption = true, figcaption = true, h1 = true, h2 = true, h3 = true, h4 = true }

-- The node behind the words of a term that begin at a place, and what stands before and after them; nil where they don't.
local function term_at(inlines, place, words)
  local before, after = "", ""
  for n, word in ipairs(words) do
    local node, blank = inlines[place], inlines[place + 1]
    if not node or node.t ~= "Str" then return end
    local text = node.text
    if n == 1 then before, text = text:match("^([%(%[]*)(.*)$") end
    if n == #words then text, after = text:match("^(.-)([%.,;:!%?%)%]]*)$") end
    if pandoc.text.lower(text) ~= word then return end
    if n < #words and not (blank and (blank.t == "Space" or blank.t == "SoftBreak")) then return end
    place = place + (n < #words and 2 or 1)
  end
  return place, before, after
end

-- Each term once a page, where it first stands in running text, with a link to the glossary.
local function with_terms(blocks, terms)
  local by_start, linked = {}, {}
  for form, address in pairs(terms) do
    local words = {}
    for word in form:gmatch("%S+") do words[#words + 1] = word end
    by_start[words[1]] = by_start[words[1]] or {}
    table.insert(by_start[words[1]], { words = words, address = pandoc.utils.stringify(address) })
  end
  for _, some in pairs(by_start) do table.sort(some, function(a, b) return #a.words > #b.words end) end

  local function link(inlines, place)
    local start = pandoc.text.lower(inlines[place].text:match("^[%(%[]*(.-)[%.,;:!%?%)%]]*$"))
    for _, term in ipairs(by_start[start] or {}) do
      local behind, before, after = term_at(inlines, place, term.words)
      if behind then
        local known = linked[term.address]
        linked[term.address] = true
        return behind, before, after, not known and pandoc.Link({}, term.address, "", { class = "term" })
      end
    end
  end

  local passed_over, open = {}, nil -- the HTML tag that a link may not stand in, while it is open
  local function see(raw)
    for slash, name in (raw.format:match("^html") and raw.text or ""):gmatch("<(/?)(%w+)") do
      if slash == "" and apart[name:lower()] then open = open or name:lower() end
      if slash ~= "" and open == name:lower() then open = nil end
    end
    return raw
  end
  for _, kind in ipairs({ "Header", "Link", "Table", "Figure", "Image", "Note", "Cite" }) do
    passed_over[kind] = function(node) return node, false end
  end

  local function with_links(inlines)
    local shown, place = pandoc.Inlines({}), 1
    while place <= #inlines do
      local behind, before, after, to
      local node = inlines[place]
      if node.t == "RawInline" then see(node) end
      if node.t == "Str" and not open then
        behind, before, after, to = link(inlines, place)
      elseif not passed_over[node.t] and pandoc.utils.type(node.content) == "Inlines" then
        node.content = with_links(node.content) -- now, as a walk would come to it only behind what follows
      end
      if to then
        local words = {}
        for n = place, behind - 1, 2 do words[#words + 1] = inlines[n].text end
        local text = table.concat(words, " ")
        to.content = { pandoc.Str(text:sub(#before + 1, #text - #after)) }
        if before ~= "" then shown:insert(pandoc.Str(before)) end
        shown:insert(to)
        if after ~= "" then shown:insert(pandoc.Str(after)) end
      else
        for n = place, (behind or place + 1) - 1 do shown:insert(inlines[n]) end
      end
      place = behind or place + 1
    end
    return shown
  end

  passed_over.traverse, passed_over.Inlines, passed_over.RawBlock = "topdown", with_links, see
  return blocks:walk(passed_over)
end

function Pandoc(doc)
  -- of the blocks alone: with a page by Quarto comes its front matter, which has the same words
  if doc.meta.made then doc.blocks = with_made(doc.blocks, doc.meta.made) end
  if doc.meta.terms then doc.blocks = with_terms(doc.blocks, doc.meta.terms) end
  local cites, taken = false, {}
  doc:walk({
    Cite = function() cites = true end,
    Header = function(header) taken[header.identifier] = true end,
  })
  if not cites or not doc.meta.bibliography then return doc end
  local name = "references"
  while taken[name] do name = name .. "-cited" end
  doc.blocks:insert(pandoc.Header(2, "References", pandoc.Attr(name, { "unnumbered" })))
  doc.blocks:insert(pandoc.Div({}, pandoc.Attr("refs")))
  return doc
end
